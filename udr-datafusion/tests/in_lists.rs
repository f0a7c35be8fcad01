//! Conditions with several lists of one operand, which the engine would merge into something else.

use crate::every_way::Case;
use crate::fixture::Fixture;

/// Rows with and without NULL, and others that are equal to each other.
const ROWS: Case<'static> = Case {
    setup: &[
        "CREATE TABLE t (n BIGINT NOT NULL, a BIGINT, b BIGINT, c BIGINT)",
        "INSERT INTO t VALUES (1, 1, 1, 1), (2, 2, 7, 2), (3, 3, 3, NULL)",
        "INSERT INTO t VALUES (4, NULL, 1, 1), (5, 5, NULL, 5), (6, 6, 6, 6)",
    ],
    ask: "SELECT n FROM t ORDER BY n",
};

/// Conditions, and the rows for which each is true.
const CONDITIONS: &[(&str, &[i64])] = &[
    // One row has a NULL: unknown, and not false.
    ("NOT (a IN (26, 17) AND a IN (15, 19))", &[1, 2, 3, 5, 6]),
    ("a NOT IN (1, 2) OR a NOT IN (3, 4)", &[1, 2, 3, 5, 6]),
    ("(a IN (1, 2) AND a NOT IN (1, 2)) IS NULL", &[4]),
    (
        "NOT ((a = 1 OR a = 2) AND (a = 3 OR a = 5))",
        &[1, 2, 3, 5, 6],
    ),
    ("(a IN (1, 2) AND a IN (3, 4)) IS NOT FALSE", &[4]),
    (
        "CASE WHEN NOT (a IN (1, 2) AND a IN (3, 4)) THEN n > 2 ELSE n = 4 END",
        &[3, 4, 5, 6],
    ),
    // A list has a NULL.
    ("a IN (1, 2) AND a NOT IN (1, NULL)", &[]),
    ("a NOT IN (1, NULL) OR a NOT IN (2)", &[1, 3, 5, 6]),
    ("a IN (1, NULL) AND a IN (1, 2)", &[1]),
    ("(a IN (1, NULL) AND a NOT IN (5, 6)) IS NULL", &[2, 3, 4]),
    // A list has more than literals.
    ("a IN (b, 5) AND a IN (c, 6)", &[1, 5, 6]),
    ("a IN (b) AND a IN (c)", &[1, 6]),
    ("a NOT IN (b, 9) OR a NOT IN (1)", &[2, 3, 5, 6]),
    ("a NOT IN (b, c) AND a IN (2, 5)", &[]),
    ("a IN (1 + 1, 3) AND a IN (4 - 2, 9)", &[2]),
    (
        "NOT (a IN (CAST('1' AS BIGINT), 2) AND a IN (5))",
        &[1, 2, 3, 5, 6],
    ),
    // What the engine may merge.
    ("a IN (1, 2) OR a IN (2, 3)", &[1, 2, 3]),
    ("a = 1 OR a = 2 OR a = 6", &[1, 2, 6]),
    ("a IN (1, 2, 3) AND a NOT IN (3)", &[1, 2]),
    (
        "(a = 1 AND b = 1) OR (a = 2 AND b = 7) OR (a = 3 AND b = 9)",
        &[1, 2],
    ),
    ("a + 1 IN (2, 3) AND a + 1 IN (3, 4)", &[2]),
    // Of a column that is never NULL it may merge literals, and nothing else.
    ("n IN (1, 2) AND n IN (2, 3)", &[2]),
    ("n NOT IN (1, 2) OR n NOT IN (2, 3)", &[1, 3, 4, 5, 6]),
    ("NOT (n IN (1, 2) AND n IN (3, 4))", &[1, 2, 3, 4, 5, 6]),
    ("(n = 1 OR n = 2) AND (n = 2 OR n = 3)", &[2]),
    ("(n IN (1, NULL) AND n IN (2, 3)) IS NULL", &[2, 3]),
    ("n NOT IN (1, NULL) OR n NOT IN (2)", &[1, 3, 4, 5, 6]),
    ("n IN (b, 5) AND n IN (c, 6)", &[1, 5, 6]),
    ("n IN (1 + 1, 3) AND n IN (4 - 2, 9)", &[2]),
    (
        "(n = CAST(NULL AS BIGINT) OR n = 2) AND (n = 3 OR n = 2)",
        &[2],
    ),
];

#[tokio::test]
async fn lists_of_one_operand_choose_the_rows_that_they_say() {
    for (condition, rows) in CONDITIONS {
        let left = (1..=6).filter(|n| !rows.contains(n));
        let left = left.map(|n| n.to_string()).collect::<Vec<_>>();
        let left = left.iter().map(String::as_str).collect::<Vec<_>>();
        let sql = format!("DELETE FROM t WHERE {condition}");
        ROWS.changes(&sql, rows.len() as u64, &left).await;
    }
}

#[tokio::test]
async fn the_same_holds_in_queries_and_in_values() {
    let f = Fixture::new().await;
    for sql in ROWS.setup {
        f.udr(sql).await;
    }
    for (condition, rows) in CONDITIONS {
        let rows = rows.iter().map(ToString::to_string).collect::<Vec<_>>();
        let asked = format!("SELECT n FROM t WHERE {condition} ORDER BY n");
        assert_eq!(f.udr(&asked).await, rows, "{condition}");
        let asked = format!("SELECT n FROM t WHERE ({condition}) IS TRUE ORDER BY n");
        assert_eq!(f.udr(&asked).await, rows, "{condition}");
        let asked = format!("SELECT n FROM (SELECT n, {condition} AS x FROM t) WHERE x ORDER BY n");
        assert_eq!(f.udr(&asked).await, rows, "{condition}");
    }
}

#[tokio::test]
async fn parameters_in_lists_are_compared_by_what_they_are() {
    let f = Fixture::new().await;
    for sql in ROWS.setup {
        f.udr(sql).await;
    }
    f.udr("PREPARE p AS DELETE FROM t WHERE a IN ($1, 9) AND a IN ($2, 8)")
        .await;
    f.udr("EXECUTE p(1, 2)").await;
    assert_eq!(f.udr("SELECT count(*) FROM t").await, ["6"]);
    f.udr("EXECUTE p(2, 2)").await;
    f.udr("PREPARE q AS DELETE FROM t WHERE NOT (a IN ($1, $2) AND a IN ($3, $4))")
        .await;
    f.udr("EXECUTE q(1, 3, 3, 5)").await;
    assert_eq!(f.udr("SELECT n FROM t ORDER BY n").await, ["3", "4"]);
}

#[tokio::test]
async fn a_long_chain_is_planned_in_time_and_stays_a_list() {
    let f = Fixture::new().await;
    for sql in ROWS.setup {
        f.udr(sql).await;
    }
    let chain = (1..400).map(|n| format!("a = {n}")).collect::<Vec<_>>();
    let sql = format!("SELECT count(*) FROM t WHERE {}", chain.join(" OR "));
    assert_eq!(f.udr(&sql).await, ["5"]);
    let plan = f.udr(&format!("EXPLAIN {sql}")).await.join("\n");
    assert!(!plan.contains("CASE"), "{plan}");
}

#[tokio::test]
async fn lists_are_left_to_the_engine_where_it_is_right() {
    let f = Fixture::new().await;
    for sql in ROWS.setup {
        f.udr(sql).await;
    }
    let condition = "(n IN (1, 2) AND b = 1) OR (n IN (3, 4) AND b = 3)";
    let sql = format!("SELECT n FROM t WHERE {condition}");
    assert!(!f.plan(&sql).await.contains("IS NULL"));
    let sql = sql.replace("(n IN", "(a IN");
    assert!(f.plan(&sql).await.contains("IS NULL"));
    // A column that is never NULL can be NULL after a join.
    let sql = "SELECT t.n FROM t LEFT JOIN t AS o ON o.n = t.n AND o.b = 1 \
               WHERE (o.n IN (26, 17) AND o.n IN (15, 19)) IS NULL ORDER BY 1";
    assert_eq!(f.udr(sql).await, ["2", "3", "5", "6"]);
}
