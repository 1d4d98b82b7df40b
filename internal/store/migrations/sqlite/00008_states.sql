-- case_state.state may be empty or behind its row from now on: the events since
-- say the rest. An older release, which would take it for the case, is kept from
-- opening the folder.
-- That a key leads to one open case needs no index of its own: the primary key
-- finds all cases of a key, and who writes is alone. In the order of hashes such an
-- index is a page of the write-ahead log for nearly every case.

-- +goose Up
DROP INDEX case_key_open;
-- +goose StatementBegin
CREATE TRIGGER case_key_bound BEFORE INSERT ON case_key WHEN NEW.open = 1
BEGIN SELECT RAISE(ABORT, 'the key leads to another open case') WHERE EXISTS (SELECT 1 FROM case_key k
  WHERE k.tenant = NEW.tenant AND k.key_version = NEW.key_version AND k.key = NEW.key AND k.open = 1 AND k.case_id <> NEW.case_id); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER case_key_opened BEFORE UPDATE ON case_key WHEN NEW.open = 1
BEGIN SELECT RAISE(ABORT, 'the key leads to another open case') WHERE EXISTS (SELECT 1 FROM case_key k
  WHERE k.tenant = NEW.tenant AND k.key_version = NEW.key_version AND k.key = NEW.key AND k.open = 1 AND k.case_id <> NEW.case_id); END;
-- +goose StatementEnd

-- +goose Down
SELECT RAISE(ABORT, 'a ledger is never taken back');
