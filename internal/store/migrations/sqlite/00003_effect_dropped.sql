-- Each claim looks for dropped effects whose lease ended; without its own index
-- it would look through all that are due.

-- +goose Up
CREATE INDEX effect_dropped ON effect (next_at) WHERE dropped = 1;

-- +goose Down
SELECT RAISE(ABORT, 'a ledger is never taken back');
