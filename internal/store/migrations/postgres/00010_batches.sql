-- Where an event stands in the ledger's tree was written into its row, which
-- wrote the row and its indexes once more. Places belong to a batch now: what one
-- statement wrote, in its order. Events are never changed again.
--
-- Nodes of the release before still write events: each gets a batch of its own.
-- They can't place any, which is logged; others do it.

-- +goose Up
CREATE SEQUENCE event_batch_id;
CREATE TABLE event_batch (
  batch      BIGINT NOT NULL PRIMARY KEY, -- of a stream, later events are in later batches
  events     BIGINT[] NOT NULL,           -- their pos, ascending
  tree_first BIGINT                       -- the place of the first, set once by the sequencer
);
CREATE INDEX event_batch_tail ON event_batch (batch) WHERE tree_first IS NULL;
CREATE UNIQUE INDEX event_batch_tree ON event_batch (tree_first) WHERE tree_first IS NOT NULL;

-- NULL for events that have their place in tree_index.
ALTER TABLE event ADD COLUMN batch BIGINT;
ALTER TABLE event DISABLE TRIGGER event_keep;
UPDATE event SET batch = t.n FROM (SELECT pos, row_number() OVER (ORDER BY pos) AS n FROM event WHERE tree_index IS NULL) t WHERE t.pos = event.pos;
ALTER TABLE event ENABLE TRIGGER event_keep;
INSERT INTO event_batch (batch, events) SELECT batch, ARRAY[pos] FROM event WHERE batch IS NOT NULL;
SELECT setval('event_batch_id', (SELECT coalesce(max(batch), 0) + 1 FROM event_batch));
DROP INDEX event_tail;

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION event_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the ledger is append-only';
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION event_batch_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' THEN
    IF OLD.tree_first IS NULL AND NEW.tree_first IS NOT NULL AND NEW.batch = OLD.batch AND NEW.events = OLD.events THEN
      RETURN NEW;
    END IF;
  END IF;
  RAISE EXCEPTION 'the ledger is append-only';
END $$;
-- +goose StatementEnd
CREATE TRIGGER event_batch_keep BEFORE UPDATE OR DELETE ON event_batch FOR EACH ROW EXECUTE FUNCTION event_batch_keep();
CREATE TRIGGER event_batch_whole BEFORE TRUNCATE ON event_batch EXECUTE FUNCTION event_batch_keep();

-- +goose StatementBegin
CREATE FUNCTION event_alone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.batch := nextval('event_batch_id');
  INSERT INTO event_batch (batch, events) VALUES (NEW.batch, ARRAY[NEW.pos]);
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER event_alone BEFORE INSERT ON event FOR EACH ROW WHEN (NEW.batch IS NULL AND NEW.tree_index IS NULL) EXECUTE FUNCTION event_alone();

-- +goose Down
-- +goose StatementBegin
DO $$ BEGIN RAISE EXCEPTION 'a ledger is never taken back'; END $$;
-- +goose StatementEnd
