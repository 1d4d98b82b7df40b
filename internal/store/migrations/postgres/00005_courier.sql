-- +goose Up
-- When a courier was sent to have the effect done (-1 for never), and the job that
-- it is. It is under way while sent_at >= next_at: what leases the effect or puts
-- it off sets next_at later.
ALTER TABLE effect ADD COLUMN sent_at BIGINT NOT NULL DEFAULT -1;
ALTER TABLE effect ADD COLUMN courier BIGINT NOT NULL DEFAULT 0;
CREATE INDEX effect_sent   ON effect (sent_at) WHERE sent_at >= next_at;
CREATE INDEX effect_unsent ON effect (next_at, id) WHERE sent_at < next_at;

-- +goose Down
-- +goose StatementBegin
DO $$ BEGIN RAISE EXCEPTION 'a ledger is never taken back'; END $$;
-- +goose StatementEnd
