//! Pieces of syntax trees.

use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, GroupByExpr, Ident, LimitClause, ObjectName, OrderBy, OrderByExpr,
    OrderByKind, Query, Select, SelectFlavor, SelectItem, SetExpr, TableAlias, TableFactor,
    TableWithJoins, Value, WildcardAdditionalOptions,
};

/// A name that means exactly this text.
pub(super) fn quoted(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

/// `qualifier."name"`
pub(super) fn column(qualifier: &[Ident], name: &str) -> Expr {
    let mut parts = qualifier.to_vec();
    parts.push(quoted(name));
    Expr::CompoundIdentifier(parts)
}

pub(super) fn null() -> Expr {
    Expr::value(Value::Null)
}

/// The expression in parentheses, unless it needs none.
pub(super) fn nested(expr: Expr) -> Expr {
    match expr {
        Expr::Nested(_)
        | Expr::Value(_)
        | Expr::Identifier(_)
        | Expr::CompoundIdentifier(_)
        | Expr::Function(_)
        | Expr::Subquery(_)
        | Expr::Exists { .. } => expr,
        expr => Expr::Nested(Box::new(expr)),
    }
}

/// The expression as a value of this type; `None` if the type has no name that can be read.
pub(super) fn cast(expr: Expr, ty: &DataType) -> Option<Expr> {
    let name = ty.to_string();
    if name.parse::<DataType>().ok().as_ref() != Some(ty) {
        return None;
    }
    let argument = |expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr));
    let name = Expr::value(Value::SingleQuotedString(name));
    Some(Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new("arrow_cast")]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![argument(expr), argument(name)],
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    }))
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp {
        left: Box::new(left),
        op,
        right: Box::new(right),
    }
}

pub(super) fn equal(left: Expr, right: Expr) -> Expr {
    binary(left, BinaryOperator::Eq, right)
}

/// All of them; `None` if there are none.
pub(super) fn all(conditions: impl IntoIterator<Item = Expr>) -> Option<Expr> {
    let mut conditions = conditions.into_iter();
    let first = conditions.next()?;
    let Some(second) = conditions.next() else {
        return Some(first);
    };
    let both = binary(nested(first), BinaryOperator::And, nested(second));
    Some(conditions.fold(both, |all, next| {
        binary(all, BinaryOperator::And, nested(next))
    }))
}

/// `expr IS NOT TRUE`
pub(super) fn is_not_true(expr: Expr) -> Expr {
    Expr::IsNotTrue(Box::new(nested(expr)))
}

pub(super) fn alias(name: Ident) -> TableAlias {
    TableAlias {
        explicit: true,
        name,
        columns: Vec::new(),
        at: None,
    }
}

/// A table by name.
pub(super) fn table(name: ObjectName, named: Option<Ident>) -> TableFactor {
    TableFactor::Table {
        name,
        alias: named.map(alias),
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}

/// A query as a table.
pub(super) fn derived(subquery: Query, named: Option<TableAlias>) -> TableFactor {
    TableFactor::Derived {
        lateral: false,
        subquery: Box::new(subquery),
        alias: named,
        sample: None,
    }
}

pub(super) fn alone(relation: TableFactor) -> TableWithJoins {
    TableWithJoins {
        relation,
        joins: Vec::new(),
    }
}

/// `*`
pub(super) fn everything() -> SelectItem {
    SelectItem::Wildcard(WildcardAdditionalOptions::default())
}

/// `expr AS "name"`
pub(super) fn item(expr: Expr, name: &str) -> SelectItem {
    SelectItem::ExprWithAlias {
        expr,
        alias: quoted(name),
    }
}

/// A query that is only this.
pub(super) fn query(body: SetExpr) -> Query {
    Query {
        with: None,
        body: Box::new(body),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

/// `SELECT items FROM from WHERE selection`
pub(super) fn select(
    projection: Vec<SelectItem>,
    from: Vec<TableWithJoins>,
    selection: Option<Expr>,
) -> Query {
    query(SetExpr::Select(Box::new(Select {
        select_token: AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection,
        exclude: None,
        into: None,
        from,
        lateral_views: Vec::new(),
        prewhere: None,
        selection,
        connect_by: Vec::new(),
        group_by: GroupByExpr::Expressions(Vec::new(), Vec::new()),
        cluster_by: Vec::new(),
        distribute_by: Vec::new(),
        sort_by: Vec::new(),
        having: None,
        named_window: Vec::new(),
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    })))
}

/// The first rows of `query` in an order.
pub(super) fn limited(mut query: Query, order_by: Vec<OrderByExpr>, limit: Option<Expr>) -> Query {
    // An order without a limit says nothing about a set of rows.
    if let Some(limit) = limit {
        query.order_by = (!order_by.is_empty()).then_some(OrderBy {
            kind: OrderByKind::Expressions(order_by),
            interpolate: None,
        });
        query.limit_clause = Some(LimitClause::LimitOffset {
            limit: Some(limit),
            offset: None,
            limit_by: Vec::new(),
        });
    }
    query
}
