-- Who asked, for lists of one's own. The consumers begin anew and fill it in for the turns that are here.
ALTER TABLE turns ADD COLUMN user TEXT NOT NULL DEFAULT '';
CREATE INDEX turns_user ON turns (workspace, user, started_ns DESC, turn_id DESC);
DELETE FROM follows;
