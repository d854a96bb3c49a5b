"""The pains of this field, one module for each: what hurt elsewhere, tried on real daemons."""
