-- Epochs come from a sequence: a commit that leases effects must not hold the row
-- of a counter until it is on disk. Nodes of the release before draw from that
-- row still; they get numbers of the sequence that follow each other, so that later
-- claims have greater epochs whoever makes them.

-- +goose Up
CREATE SEQUENCE effect_epoch;
INSERT INTO counter (tenant, name, n) SELECT '', 'effect-epoch', 0 WHERE EXISTS (SELECT 1 FROM case_state) ON CONFLICT DO NOTHING;
-- +goose StatementBegin
CREATE FUNCTION epoch_draw() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  want BIGINT := NEW.n - OLD.n;
  got BIGINT := 1;
  was BIGINT := nextval('effect_epoch');
BEGIN
  WHILE got < want LOOP
    NEW.n := nextval('effect_epoch');
    got := CASE WHEN NEW.n = was + 1 THEN got + 1 ELSE 1 END;
    was := NEW.n;
  END LOOP;
  NEW.n := was;
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER epoch_draw BEFORE UPDATE ON counter FOR EACH ROW WHEN (NEW.name = 'effect-epoch') EXECUTE FUNCTION epoch_draw();
SELECT setval('effect_epoch', n + 1) FROM counter WHERE name = 'effect-epoch';

-- +goose Down
-- +goose StatementBegin
DO $$ BEGIN RAISE EXCEPTION 'a ledger is never taken back'; END $$;
-- +goose StatementEnd
