-- Repeats are logged with the commit they came in, one row for all of them, and
-- counted later: a counter row each would cost a page each.

-- +goose Up
CREATE TABLE sighting_log (
  pos  INTEGER PRIMARY KEY AUTOINCREMENT,
  body BLOB    NOT NULL -- entries of tenant, uid, count, instant; see sightings.go
) STRICT;

-- The repeats of a finding counted so far, up to and with position upto of the
-- log. They add to finding.sightings and finding.last_seen.
CREATE TABLE sighting (
  tenant    TEXT    NOT NULL,
  uid       TEXT    NOT NULL,
  n         INTEGER NOT NULL,
  last_seen INTEGER NOT NULL,
  upto      INTEGER NOT NULL,
  PRIMARY KEY (tenant, uid)
) STRICT, WITHOUT ROWID;

-- +goose Down
SELECT RAISE(ABORT, 'a ledger is never taken back');
