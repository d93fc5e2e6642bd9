//! Rows in redb: a table of rows and one for each index, synchronised at every commit.

use std::error::Error;
use std::path::Path;

use redb::{Database, Durability, ReadableDatabase, TableDefinition};

use super::other::{Other, Row};

const ENTRY: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entry");
const BY_WELL: TableDefinition<'_, &[u8], ()> = TableDefinition::new("by_well");
const BY_KIND: TableDefinition<'_, &[u8], ()> = TableDefinition::new("by_kind");
const BY_TIME: TableDefinition<'_, &[u8], ()> = TableDefinition::new("by_time");

/// The bytes of an id, at the end of every index key.
const ID_LENGTH: usize = 16;

pub(crate) struct Redb(Database);

impl Redb {
    pub(crate) fn open(path: &Path) -> Result<Self, Box<dyn Error>> {
        Ok(Self(Database::create(path)?))
    }
}

impl Other for Redb {
    fn insert(&mut self, rows: &[Row]) -> Result<(), Box<dyn Error>> {
        let mut transaction = self.0.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        {
            let mut entry = transaction.open_table(ENTRY)?;
            let mut by_well = transaction.open_table(BY_WELL)?;
            let mut by_kind = transaction.open_table(BY_KIND)?;
            let mut by_time = transaction.open_table(BY_TIME)?;
            for row in rows {
                let at = row.at.to_be_bytes();
                entry.insert(&row.id[..], row.body.as_bytes())?;
                by_well.insert([&row.well[..], &at, &row.id].concat().as_slice(), ())?;
                by_kind.insert([row.kind.as_bytes(), &at, &row.id].concat().as_slice(), ())?;
                by_time.insert([&at[..], &row.id].concat().as_slice(), ())?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn newest(&self, well: &[u8; 16], count: usize) -> Result<Vec<String>, Box<dyn Error>> {
        let transaction = self.0.begin_read()?;
        let (by_well, entry) = (transaction.open_table(BY_WELL)?, transaction.open_table(ENTRY)?);
        let end = [&well[..], &[u8::MAX; 8]].concat();
        let mut bodies = Vec::new();
        for row in by_well.range(&well[..]..end.as_slice())?.rev().take(count) {
            let (key, _) = row?;
            let id = key.value().last_chunk::<ID_LENGTH>().copied().ok_or("a key ends in an id")?;
            let found = entry.get(&id[..])?.ok_or("every key has its row")?;
            bodies.push(String::from_utf8(found.value().to_vec())?);
        }
        Ok(bodies)
    }

    fn shrink(&mut self) -> Result<(), Box<dyn Error>> {
        self.0.compact()?;
        Ok(())
    }
}
