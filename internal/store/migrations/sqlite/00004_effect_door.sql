-- Queues are told by the system an effect leads to, and a call to it carries the
-- trace of what called for it (W3C traceparent).

-- +goose Up
ALTER TABLE effect ADD COLUMN door  TEXT NOT NULL DEFAULT '';
ALTER TABLE effect ADD COLUMN trace TEXT NOT NULL DEFAULT '';
ALTER TABLE effect ADD COLUMN since INTEGER NOT NULL DEFAULT 0; -- when it was called for

-- +goose Down
SELECT RAISE(ABORT, 'a ledger is never taken back');
