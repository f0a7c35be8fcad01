//! Whatever a table is partitioned and sorted by, a filter finds the rows that it finds in memory,
//! and they come in the order that is asked for.
//!
//! Values are few and at the edges of their types, so that many are equal, least, greatest, not a
//! number or NULL, and strings are longer than bounds are.

use std::sync::Arc;

use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use arrow::util::display::array_value_to_string;
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use udr_datafusion::{InstallOptions, install, udr_sql};

use crate::world::{check, create, open};

/// Columns, their types, what they can be partitioned by, and their values.
const COLUMNS: &[(&str, &str, &[&str], &[&str])] = &[
    ("b", "BOOLEAN", &["b"], &["true", "false"]),
    (
        "i8",
        "TINYINT",
        &["i8", "bucket(3, i8)", "truncate(5, i8)"],
        &["-120", "-1", "0", "7", "127"],
    ),
    (
        "i64",
        "BIGINT",
        &["i64", "bucket(4, i64)", "truncate(1000, i64)"],
        &[
            "-9000000000000000000",
            "-1",
            "0",
            "999",
            "1000",
            "9223372036854775807",
        ],
    ),
    (
        "u64",
        "BIGINT UNSIGNED",
        &["u64", "bucket(4, u64)", "truncate(10, u64)"],
        &["0", "9", "10", "18446744073709551615"],
    ),
    (
        "f",
        "FLOAT",
        &[],
        &["'NaN'", "'-0.0'", "'0.0'", "'inf'", "'-inf'", "1.5"],
    ),
    (
        "d",
        "DOUBLE",
        &[],
        &["'NaN'", "'-0.0'", "'0.0'", "'-inf'", "-1e300", "2.5"],
    ),
    (
        "n",
        "DECIMAL(10, 2)",
        &["n", "bucket(3, n)", "truncate(150, n)"],
        &["-99999999.99", "-0.01", "0", "1.50", "99999999.99"],
    ),
    (
        "s",
        "VARCHAR",
        &["s", "bucket(4, s)", "truncate(2, s)", "truncate(65, s)"],
        &[
            "''",
            "'a'",
            "'äöü'",
            "repeat('x', 64)",
            "repeat('x', 64) || 'y'",
            "repeat('x', 100)",
            "repeat(chr(1114111), 30)",
        ],
    ),
    (
        "x",
        "BYTEA",
        &["x", "bucket(3, x)", "truncate(1, x)"],
        &["X''", "X'00'", "X'ff'", "X'ffff'"],
    ),
    (
        "dt",
        "DATE",
        &["dt", "year(dt)", "month(dt)", "day(dt)", "bucket(4, dt)"],
        &[
            "'0001-01-01'",
            "'1969-12-31'",
            "'1970-01-01'",
            "'2024-02-29'",
            "'9999-12-31'",
        ],
    ),
    (
        "ts",
        "TIMESTAMP",
        &[
            "ts",
            "year(ts)",
            "month(ts)",
            "day(ts)",
            "hour(ts)",
            "bucket(4, ts)",
        ],
        &[
            "'1677-09-22 00:00:00'",
            "'1969-12-31 23:59:59.999999999'",
            "'1970-01-01'",
            "'2024-02-29 12:34:56.789'",
            "'2262-04-11 23:47:16'",
        ],
    ),
    (
        "tm",
        "TIME",
        &["tm", "bucket(3, tm)"],
        &["'00:00:00'", "'12:34:56'", "'23:59:59.999999'"],
    ),
];

fn literal(column: usize, n: usize) -> String {
    let (_, ty, _, values) = COLUMNS[column];
    format!("CAST({} AS {ty})", values[n % values.len()])
}

#[derive(Debug, Clone)]
struct Case {
    partition: Vec<&'static str>,
    sort: Vec<String>,
    /// For each insert the rows, each the numbers of its values; from 200 on it is NULL.
    inserts: Vec<Vec<Vec<u8>>>,
    filters: Vec<String>,
    pushdown: bool,
}

fn filter() -> impl Strategy<Value = String> {
    let column = 0..COLUMNS.len();
    let n = 0usize..7;
    let operator = select(vec!["=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM"]);
    let leaf = prop_oneof![
        6 => (column.clone(), n.clone(), operator).prop_map(|(c, n, op)| {
            format!("({} {op} {})", COLUMNS[c].0, literal(c, n))
        }),
        3 => (column.clone(), n.clone(), n.clone(), any::<bool>()).prop_map(|(c, a, b, not)| {
            let not = if not { "NOT " } else { "" };
            format!("{} {not}IN ({}, {})", COLUMNS[c].0, literal(c, a), literal(c, b))
        }),
        2 => (column.clone(), n.clone(), n).prop_map(|(c, a, b)| {
            format!("{} BETWEEN {} AND {}", COLUMNS[c].0, literal(c, a), literal(c, b))
        }),
        1 => column.clone().prop_map(|c| format!("{} IS NULL", COLUMNS[c].0)),
        1 => column.prop_map(|c| format!("{} IS NOT NULL", COLUMNS[c].0)),
        1 => select(vec!["s LIKE 'x%'", "s LIKE 'ä%'", "b", "NOT b", "i64 % 2 = 1"])
            .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(2, 4, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} AND {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} OR {b})")),
            inner.prop_map(|a| format!("NOT ({a})")),
        ]
    })
}

fn case() -> impl Strategy<Value = Case> {
    let terms = COLUMNS.iter().flat_map(|column| column.2.iter().copied());
    let terms = terms.collect::<Vec<_>>();
    let names = COLUMNS.iter().map(|column| column.0).collect::<Vec<_>>();
    let sort = subsequence(names, 0..3).prop_flat_map(|names| {
        let directions = ["", " DESC", " NULLS FIRST", " DESC NULLS LAST"];
        let terms = names.into_iter().map(move |name| {
            select(directions.to_vec()).prop_map(move |direction| format!("{name}{direction}"))
        });
        terms.collect::<Vec<_>>()
    });
    let row = proptest::collection::vec(any::<u8>(), COLUMNS.len());
    let rows = proptest::collection::vec(row, 1..12);
    (
        subsequence(terms, 0..3),
        sort,
        proptest::collection::vec(rows, 1..6),
        proptest::collection::vec(filter(), 12),
        any::<bool>(),
    )
        .prop_map(|(partition, sort, inserts, filters, pushdown)| Case {
            partition,
            sort,
            inserts,
            filters,
            pushdown,
        })
}

async fn collect(ctx: &SessionContext, sql: &str) -> Vec<arrow::array::RecordBatch> {
    let frame = udr_sql(ctx, sql).await;
    let frame = frame.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let batches = frame.collect().await;
    batches.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

async fn ids(ctx: &SessionContext, table: &str, filter: &str) -> Vec<i64> {
    let sql = format!("SELECT id FROM {table} WHERE {filter} ORDER BY id");
    let batches = collect(ctx, &sql).await;
    let ids = batches
        .iter()
        .map(|batch| batch.column(0).as_primitive::<Int64Type>());
    ids.flat_map(|ids| ids.values().to_vec()).collect()
}

/// Queries whose rows have one order, of a table that is sorted by `sort`.
fn queries(sort: &[String]) -> Vec<String> {
    let mut queries = vec![
        "SELECT sum(i8), sum(i64), sum(u64), sum(n), min(s), max(ts), count(x) FROM $".to_owned(),
    ];
    if let Some(leading) = sort.first() {
        let order = sort.join(", ");
        let name = leading.split(' ').next().unwrap();
        queries.extend([
            format!("SELECT id FROM $ ORDER BY {order}, id"),
            format!("SELECT id, {name} FROM $ WHERE id % 3 > 0 ORDER BY {order}, id LIMIT 5"),
            format!("SELECT id FROM $ ORDER BY {leading}, id DESC"),
            format!("SELECT id FROM $ ORDER BY {name}, id OFFSET 2"),
            format!("SELECT id FROM $ ORDER BY {name} DESC NULLS LAST, id LIMIT 9"),
            format!("SELECT min(id), count(*) FROM $ GROUP BY {name} ORDER BY 1"),
            format!("SELECT id, row_number() OVER (ORDER BY {order}, id ROWS UNBOUNDED PRECEDING) FROM $ ORDER BY id"),
            format!("SELECT a.id, b.id FROM $ a JOIN $ b ON a.{name} = b.{name} ORDER BY 1, 2"),
        ]);
    }
    queries
}

async fn run(case: Case) {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let repository = create(Arc::clone(&store)).await;
    let config = SessionConfig::new().with_target_partitions(2).set_bool(
        "datafusion.execution.parquet.pushdown_filters",
        case.pushdown,
    );
    let ctx = SessionContext::new_with_config(config);
    install(&ctx, InstallOptions::new(repository))
        .await
        .unwrap();
    let columns = COLUMNS.iter().map(|(name, ty, ..)| format!("{name} {ty}"));
    let columns = columns.collect::<Vec<_>>().join(", ");
    let mut sql = format!("CREATE TABLE t (id BIGINT, {columns})");
    if !case.partition.is_empty() {
        sql = format!("{sql} PARTITIONED BY ({})", case.partition.join(", "));
    }
    if !case.sort.is_empty() {
        sql = format!("{sql} WRITE ORDERED BY {}", case.sort.join(", "));
    }
    collect(&ctx, &sql).await;
    let mut id = 0;
    for rows in &case.inserts {
        let rows = rows.iter().map(|row| {
            id += 1;
            let values = row.iter().enumerate().map(|(column, n)| match n {
                200.. => "NULL".to_owned(),
                n => literal(column, usize::from(*n)),
            });
            format!("({id}, {})", values.collect::<Vec<_>>().join(", "))
        });
        let rows = rows.collect::<Vec<_>>().join(", ");
        collect(&ctx, &format!("INSERT INTO t VALUES {rows}")).await;
    }
    let copy = collect(&ctx, "SELECT * FROM t").await;
    assert_eq!(copy.iter().map(|batch| batch.num_rows()).sum::<usize>(), id);
    let memory = MemTable::try_new(copy[0].schema(), vec![copy]).unwrap();
    ctx.register_table("datafusion.public.m", Arc::new(memory))
        .unwrap();
    for filter in &case.filters {
        let expected = ids(&ctx, "datafusion.public.m", filter).await;
        assert_eq!(ids(&ctx, "t", filter).await, expected, "{sql}: {filter}");
    }
    for query in queries(&case.sort) {
        let rows = async |table: &str| {
            let batches = collect(&ctx, &query.replace('$', table)).await;
            let rows = batches.iter().flat_map(|batch| {
                (0..batch.num_rows()).map(move |row| {
                    let columns = batch.columns().iter();
                    let values = columns.map(|column| array_value_to_string(column, row).unwrap());
                    values.collect::<Vec<_>>().join("|")
                })
            });
            rows.collect::<Vec<_>>()
        };
        let expected = rows("datafusion.public.m").await;
        assert_eq!(rows("t").await, expected, "{sql}: {query}");
    }
    check(&open(store).await.unwrap()).await;
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 32,
        max_shrink_iters: 300,
        ..ProptestConfig::default()
    })]
    #[test]
    fn pruning_never_drops_a_matching_row(case in case()) {
        let stack = 16 << 20;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_stack_size(stack)
            .enable_all()
            .build()
            .unwrap();
        let run = move || runtime.block_on(run(case));
        let thread = std::thread::Builder::new().stack_size(stack).spawn(run).unwrap();
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}
