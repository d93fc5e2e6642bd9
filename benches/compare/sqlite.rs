//! Rows in SQLite: write-ahead log, synchronised at every commit.

use std::error::Error;
use std::path::Path;

use rusqlite::{Connection, params};

use super::other::{Other, Row};

const TABLES: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS entry (
        id BLOB PRIMARY KEY, well BLOB, kind TEXT, at INTEGER, body TEXT
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS by_well ON entry (well, at);
    CREATE INDEX IF NOT EXISTS by_kind ON entry (kind, at);
    CREATE INDEX IF NOT EXISTS by_time ON entry (at);
";

pub(crate) struct Sqlite(Connection);

impl Sqlite {
    pub(crate) fn open(path: &Path) -> Result<Self, Box<dyn Error>> {
        let connection = Connection::open(path)?;
        connection.execute_batch(TABLES)?;
        Ok(Self(connection))
    }
}

impl Other for Sqlite {
    fn insert(&mut self, rows: &[Row]) -> Result<(), Box<dyn Error>> {
        let transaction = self.0.transaction()?;
        {
            let mut insert =
                transaction.prepare_cached("INSERT INTO entry VALUES (?1, ?2, ?3, ?4, ?5)")?;
            for row in rows {
                insert.execute(params![row.id, row.well, row.kind, row.at, row.body])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn newest(&self, well: &[u8; 16], count: usize) -> Result<Vec<String>, Box<dyn Error>> {
        let mut select = self
            .0
            .prepare_cached("SELECT body FROM entry WHERE well = ?1 ORDER BY at DESC LIMIT ?2")?;
        let bodies = select.query_map(params![well, i64::try_from(count)?], |row| row.get(0))?;
        Ok(bodies.collect::<Result<_, _>>()?)
    }

    fn shrink(&mut self) -> Result<(), Box<dyn Error>> {
        self.0.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);")?;
        Ok(())
    }
}
