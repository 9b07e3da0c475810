"""What stands in a pool: the one definition, in SQL, for frames, benchmarks, summaries and the queue.

- A decision stands unless an undo points at it.
- An annotator's vote on a photo is their last decision that stands; "later" is not a vote, whatever they
  decided before.
- An adjudication ends a disagreement. The last adjudication that stands counts, whoever made it; "later"
  reopens the photo.
- Without an adjudication, annotators agree if their first labels are the same. In a review, two who discard
  a photo agree whatever their reasons, and the earlier reason counts.
- A photo stands in the review, and so goes into the benchmark, if nobody reviewed it or the verdict is to
  keep it.
"""

from __future__ import annotations

import json

import polars as pl
from sqlalchemy import Connection, text

from counterground.construction.pool._database import as_frame
from counterground.construction.pool._schema import KEEP, LATER, VERDICT_SCHEMA, VOTE_SCHEMA

UNDONE = "EXISTS (SELECT 1 FROM main.decision AS undo WHERE undo.undoes = decision.id)"

# One row per task, photo and voter: the id and the labels of the last decision that stands. Adjudications
# have the voter ''. With max(id), SQLite takes the other columns from the row of that id.
LAST_DECISIONS = f"""
    SELECT task, path, CASE WHEN settles THEN '' ELSE annotator END AS voter, max(id) AS id, labels,
           json_extract(labels, '$[0]') AS label
    FROM main.decision
    WHERE undoes IS NULL AND NOT {UNDONE}
"""  # noqa: S608 - constants only
BY_VOTER = "GROUP BY task, path, voter"


def verdicts_of(votes: str, where: str = "TRUE") -> str:
    """Return the query for ``task, path, annotators, status, stands, final`` of photos somebody decided on.

    ``final`` is the id of the decision whose first label is the verdict; null in a disagreement. ``stands``
    is 0 if the task keeps the photo out of the benchmark.

    Args:
        votes: a table with the rows and columns of LAST_DECISIONS.
        where: a condition that selects all of a photo's rows or none.
    """
    return f"""
        SELECT tally.task, tally.path, annotators,
               CASE WHEN adjudication IS NOT NULL THEN 'adjudicated'
                    WHEN sides > 1 THEN 'disagreed'
                    WHEN annotators = 1 THEN 'single'
                    ELSE 'agreed' END AS status,
               tally.task <> 'review' OR coalesce(final.label = '{KEEP}', 0) AS stands,
               final.id AS final
        FROM (
            SELECT task, path, sum(voter <> '') AS annotators,
                   max(CASE WHEN voter = '' THEN id END) AS adjudication,
                   min(CASE WHEN voter <> '' THEN id END) AS first_vote,
                   count(DISTINCT CASE WHEN voter = '' THEN NULL
                                       WHEN task = 'review' THEN label = '{KEEP}'
                                       ELSE label END) AS sides
            FROM {votes} WHERE label <> '{LATER}' AND ({where}) GROUP BY task, path
        ) AS tally
        LEFT JOIN {votes} AS final
            ON final.id = coalesce(adjudication, CASE WHEN sides = 1 THEN first_vote END)
            AND final.task = tally.task AND final.path = tally.path
    """  # noqa: S608 - constants only


_VOTES = f"""
    SELECT path, task, voter, labels FROM ({LAST_DECISIONS} {BY_VOTER})
    WHERE voter <> '' AND label <> '{LATER}' ORDER BY id
"""  # noqa: S608 - constants only
_VERDICTS = f"""
    WITH vote AS MATERIALIZED ({LAST_DECISIONS} AND task = :task {BY_VOTER}),
         verdict AS ({verdicts_of("vote")})
    SELECT photo.path, class_name, coalesce(status, 'none'), coalesce(annotators, 0), coalesce(stands, 1),
           final.labels
    FROM main.photo
    LEFT JOIN verdict ON verdict.path = photo.path
    LEFT JOIN main.decision AS final ON final.id = verdict.final
    ORDER BY photo.path
"""  # noqa: S608 - constants only


def read_votes(connection: Connection) -> pl.DataFrame:
    """Return the votes that stand, without adjudications, as ``VOTE_SCHEMA`` in the order they were made."""
    return as_frame([tuple(row) for row in connection.execute(text(_VOTES))], VOTE_SCHEMA)


def read_verdicts(connection: Connection, task: str) -> pl.DataFrame:
    """Return what annotators concluded about each photo, as ``VERDICT_SCHEMA``, sorted by path."""
    given: dict[str, dict[str, None]] = {}
    for path, _, _, labels in read_votes(connection).filter(pl.col("task") == task).iter_rows():
        given.setdefault(path, {}).update(dict.fromkeys(labels))
    rows = []
    for path, class_name, status, annotators, stands, final in connection.execute(
        text(_VERDICTS), {"task": task}
    ):
        chosen = json.loads(final or "[]")
        labels = chosen if status == "adjudicated" else list(given.get(path, ()))
        label = chosen[0] if chosen else None
        shown = json.dumps(labels) if labels else None
        rows.append((path, class_name, label, shown, status, annotators, bool(stands)))
    return as_frame(rows, VERDICT_SCHEMA)
