-- Raw records that are kept as evidence: redacted, compressed, sealed, once by
-- their content. uid is the first finding a record speaks of, raw_use the others.

-- +goose Up
CREATE TABLE raw (
  id     INTEGER PRIMARY KEY,
  tenant TEXT    NOT NULL,
  hash   BLOB    NOT NULL, -- SHA-256 of the redacted record
  uid    TEXT    NOT NULL,
  at     INTEGER NOT NULL, -- when it last was news
  size   INTEGER NOT NULL, -- of the redacted record
  stored INTEGER NOT NULL, -- of body
  body   BLOB    NOT NULL
) STRICT;
CREATE UNIQUE INDEX raw_hash ON raw (hash, tenant);
CREATE INDEX raw_age ON raw (at, id, size, stored);

CREATE TABLE raw_use (
  tenant TEXT    NOT NULL,
  raw    INTEGER NOT NULL,
  uid    TEXT    NOT NULL,
  PRIMARY KEY (raw, uid)
) STRICT, WITHOUT ROWID;

-- +goose Down
SELECT RAISE(ABORT, 'a ledger is never taken back');
