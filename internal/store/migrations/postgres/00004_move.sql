-- The copy by which this install came here: at most one row.

-- +goose Up
CREATE TABLE move (
  id     TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- of the copy
  tenant TEXT COLLATE "C" NOT NULL,
  target TEXT COLLATE "C" NOT NULL, -- host:port/database, as the copy named it
  state  TEXT COLLATE "C" NOT NULL, -- arrived
  at     BIGINT NOT NULL
);

-- +goose Down
-- +goose StatementBegin
DO $$ BEGIN RAISE EXCEPTION 'a ledger is never taken back'; END $$;
-- +goose StatementEnd
