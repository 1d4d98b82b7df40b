-- +goose Up
-- Until when a courier is under way to do the effect: one that did not arrive by
-- then is sent again.
ALTER TABLE effect ADD COLUMN sent_until BIGINT NOT NULL DEFAULT 0;
CREATE INDEX effect_sent ON effect (case_id, sent_until) WHERE sent_until > 0;

-- +goose Down
-- +goose StatementBegin
DO $$ BEGIN RAISE EXCEPTION 'a ledger is never taken back'; END $$;
-- +goose StatementEnd
