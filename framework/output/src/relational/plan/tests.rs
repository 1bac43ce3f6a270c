//! The rules for tables, the same for every database.

use serde_json::json;

use super::*;

/// A state that vouches for a number of rows of every stream.
struct FakeState(Option<u64>);

impl SinkState for FakeState {
    fn connector(&self) -> &'static str {
        "acme"
    }

    fn read_json(&mut self, _: &[u8], _: &str) -> Result<()> {
        Ok(())
    }

    fn to_json(&self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn vouches_for(&self, _: &str) -> bool {
        self.0.is_some()
    }

    fn rows(&self, _: &str) -> u64 {
        self.0.unwrap_or(0)
    }

    fn files(&self) -> Vec<(String, u64)> {
        Vec::new()
    }

    fn is_tail(&self, _: &str, _: &[u8]) -> Option<bool> {
        None
    }

    fn set_file(&mut self, _: &str, _: u64, _: &[u8]) {}

    fn forget_file(&mut self, _: &str) {}
}

/// A database in memory.
struct FakeCatalog {
    dialect: &'static dyn Dialect,
    /// By name: the columns, and whether there are rows.
    tables: BTreeMap<String, (BTreeMap<String, Option<String>>, bool)>,
    ledger: BTreeMap<String, (String, String, String, String)>,
}

impl FakeCatalog {
    fn new(dialect: &'static dyn Dialect) -> Self {
        Self {
            dialect,
            tables: BTreeMap::new(),
            ledger: BTreeMap::new(),
        }
    }

    /// Carries a plan out, without rows.
    fn make(&mut self, plan: &TablePlan) {
        let fields = plan.columns.iter().map(|column| {
            let kind = self.dialect.type_name(column.kind, column.is_key);
            (column.name.clone(), Some(kind.to_owned()))
        });
        let own = OURS.map(|name| (name.to_owned(), None));
        let columns = fields.chain(own).collect();
        self.tables.insert(plan.name.clone(), (columns, false));
        let row = (
            "main".to_owned(),
            plan.stream.to_owned(),
            plan.key_json().unwrap(),
            plan.columns_json().unwrap(),
        );
        self.ledger.insert(plan.name.clone(), row);
    }

    fn columns_of(&mut self, table: &str) -> &mut BTreeMap<String, Option<String>> {
        &mut self.tables.get_mut(table).unwrap().0
    }
}

impl Catalog for FakeCatalog {
    fn dialect(&self) -> &'static dyn Dialect {
        self.dialect
    }

    fn is_taken(&mut self, table: &str) -> Result<bool> {
        Ok(self.tables.contains_key(table))
    }

    fn stored_table(&mut self, table: &str) -> Result<Option<LedgerRow>> {
        let row = self.ledger.get(table).cloned();
        Ok(row.map(|(connection, stream, key, columns)| LedgerRow {
            connection,
            stream,
            key,
            columns,
        }))
    }

    fn other_tables(&mut self, connection: &str, stream: &str, table: &str) -> Result<Vec<String>> {
        let others = self
            .ledger
            .iter()
            .filter(|(name, row)| row.0 == connection && row.1 == stream && name.as_str() != table);
        Ok(others.map(|(name, _)| name.clone()).collect())
    }

    fn is_empty(&mut self, table: &str) -> Result<bool> {
        Ok(!self.tables[table].1)
    }

    fn columns(&mut self, table: &str) -> Result<BTreeMap<String, Option<String>>> {
        Ok(self.tables[table].0.clone())
    }
}

fn dialects() -> Vec<&'static dyn Dialect> {
    vec![
        #[cfg(feature = "sqlite")]
        &crate::sqlite::Sqlite,
        #[cfg(feature = "postgres")]
        &crate::postgres::Postgres,
    ]
}

fn things() -> StreamSpec {
    StreamSpec {
        name: "things",
        description: "A thing.",
        key: &["id"],
        cursor: None,
        incremental: false,
        schema: || json!({"properties": {"id": {"type": "string"}, "count": {"type": "integer"}}}),
    }
}

fn plan_with(
    catalog: &mut FakeCatalog,
    connection: &str,
    options: &TableOptions,
    stream: StreamSpec,
    rows: Option<u64>,
) -> Result<TablePlan> {
    let owner = Owner {
        connection,
        subject: "here",
        place: "PLACE",
        options,
    };
    let mut plans = plan(catalog, &owner, &[stream], &FakeState(rows))?;
    Ok(plans.remove(0))
}

fn planned(catalog: &mut FakeCatalog, stream: StreamSpec) -> Result<TablePlan> {
    plan_with(catalog, "main", &TableOptions::default(), stream, None)
}

/// A database with the table of [`things`].
fn made(dialect: &'static dyn Dialect) -> FakeCatalog {
    let mut catalog = FakeCatalog::new(dialect);
    let plan = planned(&mut catalog, things()).unwrap();
    assert_eq!(plan.change, Change::Create);
    catalog.make(&plan);
    catalog
}

fn says(result: Result<TablePlan>, part: &str) {
    let error = result.expect_err("a refusal");
    assert_eq!(error.kind(), Kind::ConfigInvalid);
    let text = error.to_string();
    assert!(text.starts_with("here: ") && text.contains(part), "{text}");
    assert!(!text.contains('\n') && !text.ends_with('.'), "{text}");
}

#[test]
fn a_table_that_is_as_it_was_made_does_not_change() {
    for dialect in dialects() {
        let plan = planned(&mut made(dialect), things()).unwrap();
        assert_eq!(plan.change, Change::None, "{dialect:?}");
        assert!(plan.is_keyed() && plan.has_digest && !plan.has_digests);
    }
}

#[test]
fn a_new_field_becomes_a_column_and_one_that_is_gone_keeps_its_own() {
    for dialect in dialects() {
        let grown = StreamSpec {
            schema: || json!({"properties": {"id": {"type": "string"}, "new": {"type": "boolean"}}}),
            ..things()
        };
        let plan = planned(&mut made(dialect), grown).unwrap();
        let names: Vec<&str> = plan.columns.iter().map(|column| &*column.name).collect();
        assert!(
            names.contains(&"count") && names.last() == Some(&"new"),
            "{names:?}"
        );
        let kind = dialect.type_name(ColumnKind::Boolean, false);
        assert_eq!(
            plan.grow("\"things\""),
            format!("ALTER TABLE \"things\" ADD COLUMN \"new\" {kind};")
        );
    }
}

#[test]
fn tables_of_others_are_refused() {
    for dialect in dialects() {
        let mut catalog = FakeCatalog::new(dialect);
        catalog
            .tables
            .insert("things".to_owned(), (BTreeMap::new(), true));
        says(
            planned(&mut catalog, things()),
            "that headwater did not make",
        );
        let other = plan_with(
            &mut made(dialect),
            "other",
            &TableOptions::default(),
            things(),
            None,
        );
        says(
            other,
            "the table \"things\" belongs to the stream things of the connection main",
        );
    }
}

#[test]
fn a_stream_has_one_table_as_long_as_it_is_there() {
    for dialect in dialects() {
        let mut catalog = made(dialect);
        let options = TableOptions {
            prefix: "other_".to_owned(),
            ..TableOptions::default()
        };
        let second =
            |catalog: &mut FakeCatalog| plan_with(catalog, "main", &options, things(), None);
        says(second(&mut catalog), "has the table \"things\" already");
        catalog.tables.clear();
        assert_eq!(second(&mut catalog).unwrap().name, "other_things");
    }
}

#[test]
fn a_dropped_table_is_refused_where_the_state_vouches_for_it() {
    for dialect in dialects() {
        let mut catalog = made(dialect);
        catalog.tables.clear();
        let options = TableOptions::default();
        let lost = plan_with(&mut catalog, "main", &options, things(), Some(0));
        says(lost, "`headwater state reset PLACE --stream things`");
        let plan = planned(&mut catalog, things()).unwrap();
        assert_eq!(plan.change, Change::Create);
    }
}

#[test]
fn an_emptied_table_is_refused_unless_rows_are_appended() {
    for dialect in dialects() {
        let options = TableOptions::default();
        let mut catalog = made(dialect);
        let emptied = plan_with(&mut catalog, "main", &options, things(), Some(7));
        says(
            emptied,
            "the table \"things\" of the stream things is empty",
        );
        plan_with(&mut catalog, "main", &options, things(), Some(0)).unwrap();
        let appended = StreamSpec {
            key: &[],
            ..things()
        };
        let mut catalog = FakeCatalog::new(dialect);
        let plan = planned(&mut catalog, appended.clone()).unwrap();
        catalog.make(&plan);
        plan_with(&mut catalog, "main", &options, appended, Some(7)).unwrap();
    }
}

#[test]
fn a_table_keeps_its_mode_and_its_key() {
    for dialect in dialects() {
        let with = |mode| TableOptions {
            mode: Some(mode),
            ..TableOptions::default()
        };
        let mut catalog = FakeCatalog::new(dialect);
        let plan = plan_with(&mut catalog, "main", &with(Mode::Append), things(), None).unwrap();
        assert!(!plan.is_keyed());
        catalog.make(&plan);
        assert!(!planned(&mut catalog, things()).unwrap().is_keyed());
        let upsert = plan_with(&mut catalog, "main", &with(Mode::Upsert), things(), None);
        says(
            upsert,
            "was made to append rows, and now it would be made with the key id",
        );
        let append = plan_with(
            &mut made(dialect),
            "main",
            &with(Mode::Append),
            things(),
            None,
        );
        says(
            append,
            "was made with the key id, and now it would be made to append rows",
        );
    }
}

#[test]
fn a_table_with_other_columns_than_it_was_made_with_is_refused() {
    for dialect in dialects() {
        let mut catalog = made(dialect);
        catalog.columns_of("things").remove("count");
        says(
            planned(&mut catalog, things()),
            "the table \"things\" lost its column \"count\"",
        );
        let mut catalog = made(dialect);
        let other = Some("other".to_owned());
        catalog
            .columns_of("things")
            .insert("count".to_owned(), other);
        says(
            planned(&mut catalog, things()),
            "the column \"count\" of the table \"things\" is not of type",
        );
    }
}

#[test]
fn a_ledger_of_another_format_is_refused() {
    for dialect in dialects() {
        let mut catalog = made(dialect);
        catalog.ledger.get_mut("things").unwrap().3 = "7".to_owned();
        says(
            planned(&mut catalog, things()),
            "in a format that this version cannot read",
        );
    }
}

#[test]
fn a_key_gets_a_digest_where_an_earlier_version_made_it_without() {
    for dialect in dialects() {
        let composed = StreamSpec {
            schema: || {
                json!({
                    "x-headwater": {"key": "composed"},
                    "properties": {"id": {"type": "string"}, "count": {"type": "integer"}}
                })
            },
            ..things()
        };
        let mut catalog = made(dialect);
        catalog.columns_of("things").remove(DIGEST);
        let plan = planned(&mut catalog, things()).unwrap();
        assert!(
            !plan.has_digest,
            "two rows of one key cannot be distinguished"
        );
        assert_eq!(plan.drop_outdated("\"things\""), None);
        let plan = planned(&mut catalog, composed).unwrap();
        assert!(matches!(
            plan.change,
            Change::Grow {
                needs_digest: true,
                ..
            }
        ));
    }
}
