"""Versions of manifests as earlier versions of the package wrote them, computed by other code than ours."""

import hashlib
import json

COLUMNS = ("path", "photo_id", "class_index", "class_name", "background", "group", "cluster")


def stored_version(photos, space):
    """SHA-256 of the label space and of the rows in the order of their paths, texts as they are."""
    rows = photos.sort("path").select(COLUMNS).iter_rows()
    lines = [space.to_json(), *(json.dumps(row) + "\n" for row in rows)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
