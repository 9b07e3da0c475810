# ruff: noqa: S608 - text is put together from the constants of this file; values are always parameters
"""The label queue's SQL queries; ``TASK`` stands for the name of a task."""

from __future__ import annotations

from counterground.construction.pool._schema import LATER
from counterground.construction.pool._verdicts import BY_VOTER, LAST_DECISIONS, UNDONE, verdicts_of

TABLES = (
    "CREATE TEMP TABLE IF NOT EXISTS seen (id, row)",
    """
    CREATE TEMP TABLE IF NOT EXISTS vote (
      task, path, voter, id UNIQUE, labels, label, PRIMARY KEY (task, path, voter)
    ) WITHOUT ROWID
    """,
    """
    CREATE TEMP TABLE IF NOT EXISTS place (
      row INTEGER PRIMARY KEY, path UNIQUE, photo_id, class_name, width, height,
      review_voters, review_status, background_voters, background_status, stands
    )
    """,
    "CREATE TEMP TABLE IF NOT EXISTS rank (path PRIMARY KEY, score)",
    "CREATE TEMP TABLE IF NOT EXISTS person (task, voter, PRIMARY KEY (task, voter)) WITHOUT ROWID",
    "CREATE TEMP TABLE IF NOT EXISTS second (task, path, PRIMARY KEY (task, path)) WITHOUT ROWID",
    "CREATE TEMP TABLE IF NOT EXISTS drawn (task PRIMARY KEY, share)",
)
_TOUCHED = "(SELECT path FROM main.decision WHERE id > :seen)"
_PLACES = f"""
    INSERT OR REPLACE INTO temp.place
    WITH verdict AS ({verdicts_of("temp.vote", f":seen = 0 OR path IN {_TOUCHED}")})
    SELECT photo.rowid, photo.path, photo_id, class_name, width, height,
           coalesce(review.annotators, 0), coalesce(review.status, 'none'),
           coalesce(background.annotators, 0), coalesce(background.status, 'none'), coalesce(review.stands, 1)
    FROM main.photo
    LEFT JOIN verdict AS review ON review.task = 'review' AND review.path = photo.path
    LEFT JOIN verdict AS background ON background.task = 'background' AND background.path = photo.path
    WHERE photo.rowid > :row OR photo.path IN {_TOUCHED}
"""


REFRESH = (
    f"DELETE FROM temp.vote WHERE path IN {_TOUCHED}",
    f"""
    INSERT INTO temp.vote {LAST_DECISIONS}
      AND (:seen = 0 OR (task IN ('review', 'background') AND path IN {_TOUCHED})) {BY_VOTER}
    """,
    _PLACES,
    """
    INSERT OR IGNORE INTO temp.person
    SELECT task, annotator FROM main.decision WHERE id > :seen AND undoes IS NULL AND NOT settles
    """,
    "DELETE FROM temp.seen",
    "INSERT INTO temp.seen VALUES (:newest, :last)",
)
NEWEST = """
    SELECT (SELECT coalesce(max(id), 0) FROM main.decision) AS newest,
           (SELECT coalesce(max(rowid), 0) FROM main.photo) AS last
"""
STANDING = f"SELECT path, stands FROM temp.place WHERE path IN {_TOUCHED}"
DRAWN = "SELECT share FROM temp.drawn WHERE task = :task"
# Draws the photos of a task that two annotators decide on: a share of all photos (to the nearest whole photo)
# and of each class (to within a photo). Within a class they are the first by content hash, so one more photo
# changes little. Classes are interleaved: the n-th photo of a class is placed at (n - offset) / photos of the
# class. Offsets differ between classes, so that small classes together also give their share.
DRAW = (
    "DELETE FROM temp.second WHERE task = :task",
    """
    INSERT INTO temp.second
    WITH class AS (SELECT class_name, count(*) AS photos,
                          (row_number() OVER (ORDER BY class_name) - 0.5) / count(*) OVER () AS offset
                   FROM temp.place WHERE :task = 'review' OR stands GROUP BY class_name)
    SELECT :task, path FROM (
        SELECT path, photo_id, class_name,
               row_number() OVER (PARTITION BY class_name ORDER BY photo_id, path) AS number
        FROM temp.place WHERE :task = 'review' OR stands
    ) JOIN class USING (class_name)
    ORDER BY (number - offset) / photos, photo_id, path
    LIMIT (SELECT round(:share * total(photos)) FROM class)
    """,
    "INSERT OR REPLACE INTO temp.drawn VALUES (:task, :share)",
)
RANK = "INSERT OR IGNORE INTO temp.rank VALUES (:path, :score)"
# Two annotators decide on what is drawn. A single annotator does not wait for a second who may never come,
# but imported labels are checked.
_TWO = """
    EXISTS (SELECT 1 FROM temp.second WHERE second.task = :task AND second.path = place.path
            AND (:people > 1 OR EXISTS (SELECT 1 FROM temp.vote AS given WHERE given.task = :task
                                        AND given.path = place.path AND given.voter = :imported)))
"""
# The first condition drops photos that have all their voters, before anything is joined.
_WANTED = f"""
    SELECT place.*, vote.id AS postponed, score, vote.label <> 'later' AS mine,
           TASK_voters + coalesce(screens, 0) AS taken, {_TWO} AS two
    FROM temp.place
    LEFT JOIN temp.vote ON vote.task = :task AND vote.path = place.path AND voter = :me
    LEFT JOIN temp.rank ON :ranked AND rank.path = place.path
    LEFT JOIN (SELECT path, count(*) AS screens FROM main.lease
               WHERE task = :task AND annotator <> :me AND until > :now AND until <= :latest
               GROUP BY path) AS held
           ON held.path = place.path
    WHERE (TASK_voters = 0 OR (TASK_voters = 1 AND {_TWO})) AND TASK_status <> 'adjudicated'
      AND (:task = 'review' OR stands)
"""
_FREE = "mine IS NOT TRUE AND (taken = 0 OR (taken = 1 AND two))"
NEXT = f"""
    SELECT path, row, class_name, width, height, postponed IS NOT NULL
    FROM ({_WANTED}) WHERE {_FREE}
    ORDER BY postponed, CASE WHEN :task = 'background' THEN class_name END, score DESC,
             substr(photo_id, :here, 4), substr(photo_id, :there, 4), path
    LIMIT :count
"""
LEFT = f"SELECT count(*) FROM ({_WANTED}) WHERE {_FREE}"
STILL_WANTED = f"""
    SELECT path FROM ({_WANTED} AND place.path IN (SELECT value FROM json_each(:leased)))
    WHERE {_FREE}
"""
REMAINING = f"""
    SELECT coalesce(sum(mine IS TRUE), 0),
           coalesce(sum(mine IS NOT TRUE AND NOT ({_FREE})), 0)
    FROM ({_WANTED})
"""
DONE = "SELECT count(*) FROM temp.vote WHERE task = :task AND voter = :me AND label <> 'later'"
PACE = f"""
    SELECT seconds FROM (SELECT seconds FROM main.decision INDEXED BY decision_annotator
                         WHERE annotator = :me AND task = :task AND undoes IS NULL AND NOT settles
                           AND labels <> '["{LATER}"]' AND NOT {UNDONE}
                         ORDER BY id DESC LIMIT 101)
    WHERE seconds IS NOT NULL
"""
DISAGREEMENTS = """
    SELECT place.path, place.row, class_name, width, height, 0, voter, labels
    FROM temp.place
    JOIN temp.vote ON vote.task = :task AND vote.path = place.path AND voter <> '' AND vote.label <> 'later'
    WHERE TASK_status = 'disagreed' AND (:task = 'review' OR stands)
    ORDER BY class_name, place.path, voter
"""
ADJUDICATIONS = """
    SELECT place.path, place.row, class_name, width, height, 0, decision.id, decision.labels, at
    FROM temp.vote
    JOIN temp.place ON place.path = vote.path JOIN main.decision ON decision.id = vote.id
    WHERE vote.task = :task AND voter = '' AND vote.label <> 'later' ORDER BY decision.id DESC
"""
USES = """
    SELECT value, count(*) FROM main.decision, json_each(labels) WHERE task = :task GROUP BY value
"""
FLAGS = """
    SELECT signal.path, reason, explanation, other.rowid, signal.related
    FROM main.signal LEFT JOIN main.photo AS other ON other.path = signal.related
    WHERE flagged AND signal.path IN (SELECT value FROM json_each(:paths))
    ORDER BY signal.path, priority DESC
"""
PROGRESS = f"""
    SELECT class_name, count(*),
           sum(TASK_status = 'adjudicated' OR TASK_voters > 1 OR (TASK_voters = 1 AND NOT {_TWO})),
           sum(TASK_status <> 'adjudicated' AND TASK_voters = 1 AND {_TWO}),
           sum(TASK_status = 'disagreed')
    FROM temp.place WHERE :task = 'review' OR stands GROUP BY class_name ORDER BY class_name
"""
PEOPLE = "SELECT voter FROM temp.person WHERE task = :task"
MADE_SINCE = f"""
    SELECT annotator, count(*) FROM main.decision
    WHERE id > :id AND undoes IS NULL AND labels <> '["later"]' AND NOT {UNDONE}
    GROUP BY annotator
"""
