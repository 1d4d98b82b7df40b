-- Where this install moved: at most one row. It also keeps an older release, which
-- does not know the table, from opening the folder at all.

-- +goose Up
CREATE TABLE move (
  id     TEXT    NOT NULL PRIMARY KEY, -- of the copy
  tenant TEXT    NOT NULL,
  target TEXT    NOT NULL, -- host:port/database
  state  TEXT    NOT NULL, -- moving, moved
  at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- +goose Down
SELECT RAISE(ABORT, 'a ledger is never taken back');
