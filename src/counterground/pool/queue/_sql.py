# ruff: noqa: S608 - text is put together from the constants of this file; values are always parameters
"""The label queue's questions to the database; ``TASK`` stands for the name of a task."""

from __future__ import annotations

from counterground.pool._verdicts import BY_VOTER, LAST_DECISIONS, UNDONE, verdicts_of

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
    "DELETE FROM temp.seen",
    "INSERT INTO temp.seen VALUES (:newest, :last)",
)
NEWEST = """
    SELECT (SELECT coalesce(max(id), 0) FROM main.decision) AS newest,
           (SELECT coalesce(max(rowid), 0) FROM main.photo) AS last
"""
RANK = "INSERT OR IGNORE INTO temp.rank VALUES (:path, :score)"
# What has all its voters is sorted out by the first condition that can be checked, before anything is joined.
_WANTED = """
    SELECT place.*, vote.id AS postponed, score,
           vote.label <> 'later' AS mine, TASK_voters AS voters,
           coalesce(screens, 0) AS screens,
           1 + (photo_id < :second) AS needs
    FROM temp.place
    LEFT JOIN temp.vote ON vote.task = :task AND vote.path = place.path AND voter = :me
    LEFT JOIN temp.rank ON :ranked AND rank.path = place.path
    LEFT JOIN (SELECT path, count(*) AS screens FROM main.lease
               WHERE task = :task AND annotator <> :me AND until > :now AND until <= :latest
               GROUP BY path) AS held
           ON held.path = place.path
    WHERE TASK_voters < 1 + (photo_id < :second) AND TASK_status <> 'adjudicated'
      AND (:task = 'review' OR stands)
"""
NEXT = f"""
    SELECT path, row, class_name, width, height, postponed IS NOT NULL
    FROM ({_WANTED}) WHERE mine IS NOT TRUE AND voters + screens < needs
    ORDER BY postponed, CASE WHEN :task = 'background' THEN class_name END, score DESC,
             substr(photo_id, :here, 4), substr(photo_id, :there, 4), path
    LIMIT :count
"""
LEFT = f"SELECT count(*) FROM ({_WANTED}) WHERE mine IS NOT TRUE AND voters + screens < needs"
STILL_WANTED = f"""
    SELECT path FROM ({_WANTED} AND place.path IN (SELECT value FROM json_each(:leased)))
    WHERE mine IS NOT TRUE AND voters + screens < needs
"""
REMAINING = f"""
    SELECT coalesce(sum(mine IS TRUE), 0),
           coalesce(sum(mine IS NOT TRUE AND voters + screens >= needs), 0)
    FROM ({_WANTED})
"""
DONE = "SELECT count(*) FROM temp.vote WHERE task = :task AND voter = :me AND label <> 'later'"
PACE = """
    SELECT seconds FROM (SELECT seconds FROM main.decision INDEXED BY decision_annotator
                         WHERE annotator = :me AND task = :task AND undoes IS NULL AND NOT settles
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
PROGRESS = """
    SELECT class_name, count(*),
           sum(TASK_status = 'adjudicated' OR TASK_voters > (photo_id < :second)),
           sum(TASK_status <> 'adjudicated' AND TASK_voters > 0 AND TASK_voters < 1 + (photo_id < :second)),
           sum(TASK_status = 'disagreed')
    FROM temp.place WHERE :task = 'review' OR stands GROUP BY class_name ORDER BY class_name
"""
VOTERS = "SELECT DISTINCT voter FROM temp.vote WHERE task = :task AND voter <> ''"
MADE_SINCE = f"""
    SELECT annotator, count(*) FROM main.decision
    WHERE id > :id AND undoes IS NULL AND labels <> '["later"]' AND NOT {UNDONE}
    GROUP BY annotator
"""
