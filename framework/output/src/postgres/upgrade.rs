//! Tables of earlier versions, whose keys had no digest.

use headwater_json::canonical::digest;
use postgres::Client;

use super::table::Table;
use crate::relational::{DIGEST, quoted};

/// Rows that are read at once.
const BATCH: usize = 1_000;

/// Gives the key of a table a digest, in the transaction under way.
pub(super) fn add_digests(client: &mut Client, table: &Table) -> Result<(), postgres::Error> {
    let name = &table.qualified;
    let column = quoted(DIGEST);
    client.batch_execute(&format!(
        "ALTER TABLE {name} ADD COLUMN {column} text NOT NULL DEFAULT ''"
    ))?;
    client.batch_execute(&format!(
        "DECLARE _headwater_rows NO SCROLL CURSOR FOR SELECT ctid::text, _record FROM {name}"
    ))?;
    let update = client.prepare(&format!(
        "UPDATE {name} AS kept SET {column} = given.digest FROM unnest($1::text[], $2::text[]) AS given(place, digest) \
         WHERE kept.ctid = given.place::tid"
    ))?;
    loop {
        let rows = client.query(&format!("FETCH {BATCH} FROM _headwater_rows"), &[])?;
        if rows.is_empty() {
            break;
        }
        let places: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let record = |row: &postgres::Row| digest(row.get::<_, String>(1).as_bytes());
        let digests: Vec<String> = rows.iter().map(record).collect();
        client.execute(&update, &[&places, &digests])?;
    }
    client.batch_execute("CLOSE _headwater_rows")?;
    let plan = &table.plan;
    let names = plan.key.iter().map(|at| plan.columns[*at].name.clone());
    let mut key: Vec<String> = names.collect();
    key.sort_unstable();
    let constraints = client.query(
        "SELECT o.conname::text, array_agg(a.attname::text) FROM pg_constraint o \
         JOIN pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = ANY(o.conkey) \
         WHERE o.conrelid = $1::text::regclass AND o.contype = 'u' GROUP BY o.conname",
        &[name],
    )?;
    for constraint in constraints {
        let mut columns: Vec<String> = constraint.get(1);
        columns.sort_unstable();
        if columns == key {
            let constraint: String = constraint.get(0);
            client.batch_execute(&format!(
                "ALTER TABLE {name} DROP CONSTRAINT {}",
                quoted(&constraint)
            ))?;
        }
    }
    client.batch_execute(&format!("ALTER TABLE {name} ADD {}", plan.unique()))
}
