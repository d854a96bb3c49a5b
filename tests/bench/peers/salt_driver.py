"""Runs in Salt's own environment: a line of JSON for each call, and how many minions succeeded."""

import json
import sys

import salt.client  # type: ignore[import-not-found]


def main() -> None:
    client = salt.client.LocalClient(c_path=sys.argv[1])
    for line in sys.stdin:
        target, function, *more = json.loads(line)
        arguments = more[0] if more else []
        named = more[1] if len(more) > 1 else {}
        try:
            found = client.cmd(target, function, arguments, timeout=60, kwarg=named)
        except Exception as error:  # the master is not up yet
            print(error, file=sys.stderr)
            found = {}
        print(sum(map(_good, found.values())), flush=True)


def _good(answer: object) -> bool:
    if isinstance(answer, dict):
        return bool(answer) and all(step.get("result") for step in answer.values())
    return answer is True


main()
