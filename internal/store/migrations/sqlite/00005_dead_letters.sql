-- What failed too often by our own fault: effects beside their row, cases that
-- could not be woken in a table of their own.

-- +goose Up
ALTER TABLE effect ADD COLUMN dead_since INTEGER NOT NULL DEFAULT 0;
CREATE INDEX effect_dead ON effect (tenant, dead_since, id) WHERE dead_since > 0;

-- A row counts while case_state.wake_at is still its next_at: every commit of
-- the case sets the wake-up anew, and that ends the fault.
CREATE TABLE case_fault (
  case_id    TEXT    NOT NULL PRIMARY KEY,
  tenant     TEXT    NOT NULL,
  failures   INTEGER NOT NULL,
  reason     TEXT    NOT NULL,
  next_at    INTEGER NOT NULL,
  dead_since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX case_fault_dead ON case_fault (tenant, dead_since, case_id) WHERE dead_since > 0;

-- +goose Down
SELECT RAISE(ABORT, 'a ledger is never taken back');
