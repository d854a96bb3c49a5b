"""The format of the journal's file, and what leads from one format to the next."""

import json

from templates.objects import ObjectId

_SCHEMA = """
CREATE TABLE lane (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, service_type TEXT NOT NULL,
    assigned INTEGER NOT NULL DEFAULT 1, history TEXT NOT NULL DEFAULT '',
    era INTEGER NOT NULL DEFAULT 0, stored_revision INTEGER NOT NULL DEFAULT 0,
    object_hash TEXT NOT NULL DEFAULT '0', condition TEXT NOT NULL DEFAULT 'new',
    message TEXT NOT NULL DEFAULT '', held INTEGER NOT NULL DEFAULT 0,
    renderer TEXT NOT NULL DEFAULT '', control_secret TEXT NOT NULL);
CREATE TABLE object (
    lane TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, revision INTEGER NOT NULL,
    era INTEGER NOT NULL, kind_version INTEGER NOT NULL, spec BLOB, requires TEXT NOT NULL,
    pending INTEGER NOT NULL, PRIMARY KEY (lane, kind, key)) WITHOUT ROWID;
CREATE INDEX object_pending ON object (lane, revision) WHERE pending;
CREATE TABLE applied (
    lane TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, revision INTEGER NOT NULL,
    kind_version INTEGER NOT NULL, spec BLOB NOT NULL, unit TEXT NOT NULL,
    PRIMARY KEY (lane, kind, key)) WITHOUT ROWID;
CREATE INDEX applied_unit ON applied (lane, unit);
CREATE TABLE applied_requires (
    lane TEXT NOT NULL, needs_kind TEXT NOT NULL, needs_key TEXT NOT NULL,
    kind TEXT NOT NULL, key TEXT NOT NULL,
    PRIMARY KEY (lane, needs_kind, needs_key, kind, key)) WITHOUT ROWID;
CREATE INDEX applied_requires_object ON applied_requires (lane, kind, key);
CREATE TABLE outcome (
    lane TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, revision INTEGER NOT NULL,
    outcome TEXT NOT NULL, message TEXT NOT NULL, PRIMARY KEY (lane, kind, key)) WITHOUT ROWID;
CREATE TABLE waits (
    lane TEXT NOT NULL, needs_kind TEXT NOT NULL, needs_key TEXT NOT NULL,
    kind TEXT NOT NULL, key TEXT NOT NULL,
    PRIMARY KEY (lane, needs_kind, needs_key, kind, key)) WITHOUT ROWID;
CREATE INDEX waits_object ON waits (lane, kind, key);
CREATE TABLE entry (
    id INTEGER PRIMARY KEY, lane TEXT NOT NULL,
    phase TEXT NOT NULL CHECK (phase IN ('apply', 'retire')), body BLOB NOT NULL);
CREATE INDEX entry_lane ON entry (lane, id);
PRAGMA user_version = 1;
"""
_LIVE = """
CREATE TABLE live (entry INTEGER PRIMARY KEY);
PRAGMA user_version = 2;
"""
_CHANGE = """
ALTER TABLE object ADD COLUMN change_id INTEGER NOT NULL DEFAULT 0;
PRAGMA user_version = 3;
"""
_FILES = """
CREATE TABLE file (
    lane TEXT NOT NULL, path TEXT NOT NULL, units TEXT NOT NULL, looks TEXT NOT NULL,
    size INTEGER NOT NULL, mode INTEGER NOT NULL, owner TEXT NOT NULL,
    PRIMARY KEY (lane, path)) WITHOUT ROWID;
CREATE TABLE finding (
    lane TEXT NOT NULL, path TEXT NOT NULL, what TEXT NOT NULL, words TEXT NOT NULL,
    PRIMARY KEY (lane, path)) WITHOUT ROWID;
ALTER TABLE lane ADD COLUMN drift TEXT NOT NULL DEFAULT 'report';
ALTER TABLE lane ADD COLUMN unfilled TEXT;
UPDATE lane SET unfilled = '';
PRAGMA user_version = 4;
"""
FORMATS = (_SCHEMA, _LIVE, _CHANGE, _FILES)
"""What leads from one format of the file to the next."""


def ids_of(text: str) -> tuple[ObjectId, ...]:
    """Read the objects that a row names, as pairs of kind and key."""
    return tuple(ObjectId(kind, key) for kind, key in json.loads(text))
