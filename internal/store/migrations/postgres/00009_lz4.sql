-- Findings and states are larger than what PostgreSQL leaves as it is: lz4 takes a
-- fraction of the time of its own method. What is stored stays as it was. A server
-- that was built without lz4 keeps its own.

-- +goose Up
-- +goose StatementBegin
DO $$ BEGIN
  EXECUTE 'ALTER TABLE case_state ALTER COLUMN state SET COMPRESSION lz4';
  EXECUTE 'ALTER TABLE finding ALTER COLUMN body SET COMPRESSION lz4';
  EXECUTE 'ALTER TABLE event ALTER COLUMN body SET COMPRESSION lz4';
  EXECUTE 'ALTER TABLE fact ALTER COLUMN body SET COMPRESSION lz4';
EXCEPTION WHEN feature_not_supported OR syntax_error THEN
  NULL;
END $$;
-- +goose StatementEnd

-- +goose Down
-- +goose StatementBegin
DO $$ BEGIN RAISE EXCEPTION 'a ledger is never taken back'; END $$;
-- +goose StatementEnd
