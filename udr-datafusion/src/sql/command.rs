//! The statements that only UDR has.

use datafusion::common::Result;
use datafusion::sql::sqlparser::tokenizer::Token;
use udr_core::Error;
use udr_core::txn::Isolation;

use super::ast::{Access, Analyze, Command, Effect, Existing, Import, Missing, RefKind, StateName};
use super::cursor::Cursor;
use super::{external, instant};

/// Parses what only UDR has; `None` leaves the statement to DataFusion.
pub(super) fn command(cursor: &mut Cursor<'_>) -> Result<Option<Command>> {
    let command = if cursor.take(&["BEGIN"]) {
        cursor.take_any(&["TRANSACTION", "WORK"]);
        begin(cursor)?
    } else if cursor.take(&["START", "TRANSACTION"]) {
        begin(cursor)?
    } else if cursor.take_any(&["COMMIT", "END"]) {
        commit(cursor)?
    } else if cursor.take_any(&["ROLLBACK", "ABORT"]) {
        rollback(cursor)?
    } else if cursor.take(&["SAVEPOINT"]) {
        Command::Savepoint(cursor.identifier("a savepoint's name")?)
    } else if cursor.take(&["RELEASE"]) {
        cursor.take(&["SAVEPOINT"]);
        Command::Release(cursor.identifier("a savepoint's name")?)
    } else if cursor.starts_with(&["CREATE"]) {
        return create_ref(cursor);
    } else if cursor.starts_with(&["DROP"]) {
        return drop_ref(cursor);
    } else if cursor.take(&["USE"]) {
        use_branch(cursor)?
    } else if cursor.starts_with(&["MERGE", "BRANCH"]) {
        return merge(cursor);
    } else if cursor.take(&["ANALYZE", "TABLE"]) {
        analyze(cursor)?
    } else if cursor.take(&["IMPORT", "PARQUET"]) {
        import(cursor)?
    } else if cursor.starts_with(&["SHOW"]) {
        return show(cursor);
    } else if cursor.starts_with(&["DESCRIBE"]) || cursor.starts_with(&["DESC"]) {
        return describe(cursor);
    } else {
        return set(cursor);
    };
    Ok(Some(command))
}

/// `table [COMPUTE STATISTICS] [(columns)|FOR COLUMNS columns|FOR ALL COLUMNS]`
fn analyze(cursor: &mut Cursor<'_>) -> Result<Command> {
    let table = cursor.table()?;
    cursor.take(&["COMPUTE", "STATISTICS"]);
    let parentheses = cursor.take_token(&Token::LParen);
    let mut columns = None;
    if parentheses || cursor.take(&["FOR", "COLUMNS"]) {
        let mut named = vec![cursor.identifier("a column's name")?];
        while cursor.take_token(&Token::Comma) {
            named.push(cursor.identifier("a column's name")?);
        }
        columns = Some(named);
    } else {
        cursor.take(&["FOR", "ALL", "COLUMNS"]);
    }
    if parentheses && !cursor.take_token(&Token::RParen) {
        return cursor.unexpected("a comma or )");
    }
    Ok(Command::Analyze(Analyze { table, columns }))
}

/// `'path' INTO table [COPY]`, `('path', …) INTO table [COPY]`
fn import(cursor: &mut Cursor<'_>) -> Result<Command> {
    let path = "a path in single quotes";
    let mut patterns = Vec::new();
    if cursor.take_token(&Token::LParen) {
        loop {
            patterns.push(cursor.string(path)?);
            if !cursor.take_token(&Token::Comma) {
                break;
            }
        }
        if !cursor.take_token(&Token::RParen) {
            return cursor.unexpected("a comma or )");
        }
    } else {
        patterns.push(cursor.string(path)?);
    }
    if !cursor.take(&["INTO"]) {
        return cursor.unexpected("INTO");
    }
    cursor.take(&["TABLE"]);
    let table = cursor.table()?;
    let copy = cursor.take(&["COPY"]);
    Ok(Command::Import(Import {
        patterns,
        table,
        copy,
    }))
}

/// `[ISOLATION LEVEL …] [READ WRITE | READ ONLY [AS OF revision]]`
fn begin(cursor: &mut Cursor<'_>) -> Result<Command> {
    let mut access = None;
    let mut as_of = None;
    let mut level = None;
    loop {
        if access.is_none() && cursor.take(&["READ", "ONLY"]) {
            access = Some(Access::ReadOnly);
            if cursor.take(&["AS", "OF"]) {
                as_of = Some(revision(cursor)?);
            }
        } else if access.is_none() && cursor.take(&["READ", "WRITE"]) {
            access = Some(Access::ReadWrite);
        } else if level.is_none() && cursor.take(&["ISOLATION", "LEVEL"]) {
            level = Some(isolation(cursor)?);
        } else if cursor.ends_after(0) {
            break;
        } else if !cursor.take_token(&Token::Comma) {
            return cursor.unexpected("READ ONLY, READ WRITE, ISOLATION LEVEL or end of statement");
        }
    }
    Ok(Command::Begin {
        access: access.unwrap_or(Access::ReadWrite),
        isolation: level.unwrap_or_default(),
        as_of,
    })
}

/// Levels that are weaker than a snapshot get one.
fn isolation(cursor: &mut Cursor<'_>) -> Result<Isolation> {
    let given: [&[&str]; 4] = [
        &["SNAPSHOT"],
        &["REPEATABLE", "READ"],
        &["READ", "COMMITTED"],
        &["READ", "UNCOMMITTED"],
    ];
    if given.iter().any(|level| cursor.take(level)) {
        return Ok(Isolation::Snapshot);
    }
    if cursor.take(&["SERIALIZABLE"]) {
        return Ok(Isolation::Serializable);
    }
    cursor.unexpected("an isolation level")
}

fn commit(cursor: &mut Cursor<'_>) -> Result<Command> {
    cursor.take_any(&["TRANSACTION", "WORK"]);
    no_chain(cursor)?;
    cursor.take(&["WITH"]);
    let message = match cursor.take(&["MESSAGE"]) {
        true => Some(cursor.string("a message in single quotes")?),
        false => None,
    };
    Ok(Command::Commit { message })
}

fn rollback(cursor: &mut Cursor<'_>) -> Result<Command> {
    cursor.take_any(&["TRANSACTION", "WORK"]);
    if cursor.take(&["TO"]) {
        cursor.take(&["SAVEPOINT"]);
        return Ok(Command::RollbackTo(
            cursor.identifier("a savepoint's name")?,
        ));
    }
    no_chain(cursor)?;
    Ok(Command::Rollback)
}

fn no_chain(cursor: &mut Cursor<'_>) -> Result<()> {
    if cursor.take(&["AND", "CHAIN"]) {
        return Err(external(
            Error::unsupported("AND CHAIN is not implemented").with_hint("write BEGIN after it"),
        ));
    }
    cursor.take(&["AND", "NO", "CHAIN"]);
    Ok(())
}

/// A revision after `FROM` or `AS OF`, with the noun that some write before it.
fn revision(cursor: &mut Cursor<'_>) -> Result<StateName> {
    let mut kind = None;
    if !cursor.ends_after(1) {
        if cursor.take(&["TIMESTAMP"]) {
            let text = cursor.string("a time in single quotes")?;
            let time = instant::parse(&text).and_then(instant::render);
            let revision = time.map_err(external)?;
            return Ok(StateName { kind, revision });
        }
        if !cursor.take(&["VERSION"]) {
            kind = ref_kind(cursor, 0);
            cursor.skip(usize::from(kind.is_some()));
        }
    }
    let revision = cursor.reference("a revision")?;
    Ok(StateName { kind, revision })
}

/// A revision without what a statement says that it is.
pub(super) fn revision_of(cursor: &mut Cursor<'_>) -> Result<String> {
    let state = revision(cursor)?;
    match state.kind {
        None => Ok(state.revision),
        Some(_) => cursor.unexpected("a revision"),
    }
}

fn ref_kind(cursor: &Cursor<'_>, ahead: usize) -> Option<RefKind> {
    if cursor.is(ahead, "BRANCH") {
        Some(RefKind::Branch)
    } else if cursor.is(ahead, "TAG") {
        Some(RefKind::Tag)
    } else {
        None
    }
}

fn ref_name(cursor: &mut Cursor<'_>, kind: RefKind) -> Result<String> {
    cursor.reference(match kind {
        RefKind::Branch => "a branch's name",
        RefKind::Tag => "a tag's name",
    })
}

fn create_ref(cursor: &mut Cursor<'_>) -> Result<Option<Command>> {
    if cursor.starts_with(&["CREATE", "OR", "REPLACE"]) && ref_kind(cursor, 3).is_some() {
        return Err(external(
            Error::unsupported("branches and tags are not replaced").with_hint("drop it first"),
        ));
    }
    let Some(kind) = ref_kind(cursor, 1) else {
        return Ok(None);
    };
    cursor.take(&["CREATE"]);
    cursor.take_any(&["BRANCH", "TAG"]);
    let existing = if cursor.take(&["IF", "NOT", "EXISTS"]) {
        Existing::Keep
    } else {
        Existing::Refuse
    };
    let name = ref_name(cursor, kind)?;
    let from = match cursor.take(&["FROM"]) || cursor.take(&["AS", "OF"]) || cursor.take(&["AT"]) {
        true => Some(revision(cursor)?),
        false => None,
    };
    Ok(Some(Command::CreateRef {
        kind,
        name,
        from,
        existing,
    }))
}

fn drop_ref(cursor: &mut Cursor<'_>) -> Result<Option<Command>> {
    let Some(kind) = ref_kind(cursor, 1) else {
        return Ok(None);
    };
    cursor.take(&["DROP"]);
    cursor.take_any(&["BRANCH", "TAG"]);
    let missing = if cursor.take(&["IF", "EXISTS"]) {
        Missing::Ignore
    } else {
        Missing::Refuse
    };
    Ok(Some(Command::DropRef {
        kind,
        name: ref_name(cursor, kind)?,
        missing,
    }))
}

fn use_branch(cursor: &mut Cursor<'_>) -> Result<Command> {
    if cursor.take(&["BRANCH"]) {
        return Ok(Command::UseBranch(ref_name(cursor, RefKind::Branch)?));
    }
    Err(external(
        Error::unsupported("USE says neither branch nor schema")
            .with_hint("`USE BRANCH name`, or `SET datafusion.catalog.default_schema = 'name'`"),
    ))
}

fn merge(cursor: &mut Cursor<'_>) -> Result<Option<Command>> {
    // `MERGE branch [AS b] USING …` is about a table of that name.
    if ["USING", "AS"].iter().any(|word| cursor.is(2, word)) || cursor.is(3, "USING") {
        return Ok(None);
    }
    cursor.take(&["MERGE", "BRANCH"]);
    let source = ref_name(cursor, RefKind::Branch)?;
    let target = match cursor.take(&["INTO"]) {
        true => {
            cursor.take(&["BRANCH"]);
            Some(ref_name(cursor, RefKind::Branch)?)
        }
        false => None,
    };
    let effect = if cursor.take(&["DRY", "RUN"]) {
        Effect::DryRun
    } else {
        Effect::Apply
    };
    Ok(Some(Command::MergeBranch {
        source,
        target,
        effect,
    }))
}

fn show(cursor: &mut Cursor<'_>) -> Result<Option<Command>> {
    let command = if cursor.take(&["SHOW", "BRANCHES"]) {
        Command::ShowRefs(RefKind::Branch)
    } else if cursor.take(&["SHOW", "TAGS"]) {
        Command::ShowRefs(RefKind::Tag)
    } else if cursor.take(&["SHOW", "STATUS"]) {
        Command::ShowStatus
    } else if cursor.take(&["SHOW", "LOG"]) {
        let (branch, limit) = log_options(cursor)?;
        Command::ShowLog { branch, limit }
    } else if cursor.take(&["SHOW", "REFLOG"]) {
        let (branch, limit) = log_options(cursor)?;
        Command::ShowReflog { branch, limit }
    } else if cursor.take(&["SHOW", "TABLES"]) {
        let namespace = match cursor.take_any(&["FROM", "IN"]) {
            true => Some(cursor.identifier("a namespace")?),
            false => None,
        };
        let as_of = match cursor.take(&["AS", "OF"]) {
            true => Some(revision(cursor)?),
            false => None,
        };
        Command::ShowTables { namespace, as_of }
    } else {
        return Ok(None);
    };
    Ok(Some(command))
}

/// `[ON|FOR|FROM [BRANCH] name] [LIMIT n]`, in any order.
fn log_options(cursor: &mut Cursor<'_>) -> Result<(Option<String>, Option<usize>)> {
    let (mut branch, mut limit) = (None, None);
    loop {
        if branch.is_none() && cursor.take_any(&["ON", "FOR", "FROM"]) {
            if !cursor.ends_after(1) {
                cursor.take(&["BRANCH"]);
            }
            branch = Some(ref_name(cursor, RefKind::Branch)?);
        } else if limit.is_none() && cursor.take(&["LIMIT"]) {
            limit = Some(cursor.number("a number of entries")?);
        } else {
            return Ok((branch, limit));
        }
    }
}

fn describe(cursor: &mut Cursor<'_>) -> Result<Option<Command>> {
    // `DESCRIBE history` is about a table of that name.
    if !cursor.is(1, "HISTORY") || cursor.ends_after(2) {
        return Ok(None);
    }
    cursor.take_any(&["DESCRIBE", "DESC"]);
    cursor.take(&["HISTORY"]);
    let table = cursor.table()?;
    let limit = match cursor.take(&["LIMIT"]) {
        true => Some(cursor.number("a number of entries")?),
        false => None,
    };
    Ok(Some(Command::DescribeHistory { table, limit }))
}

/// `SET` of `udr.as_of`, `udr.author`, `udr.branch` and `udr.verify`, and `RESET` of all but the
/// branch; other settings are the engine's.
fn set(cursor: &mut Cursor<'_>) -> Result<Option<Command>> {
    let reset = cursor.is(0, "RESET");
    let branch = cursor.is(3, "BRANCH");
    let author = cursor.is(3, "AUTHOR");
    let verify = cursor.is(3, "VERIFY");
    let ours = branch || author || verify || cursor.is(3, "AS_OF");
    if !(reset || cursor.is(0, "SET")) || !cursor.is(1, "UDR") || !ours {
        return Ok(None);
    }
    let to = |value| {
        Some(if author {
            Command::SetAuthor(value)
        } else if verify {
            Command::SetVerify(value)
        } else {
            Command::SetAsOf(value)
        })
    };
    cursor.skip(2);
    if !cursor.take_token(&Token::Period) {
        return cursor.unexpected(".");
    }
    cursor.skip(1);
    if reset && branch {
        return Err(external(
            Error::invalid("a session always has a branch").with_hint("`USE BRANCH name`"),
        ));
    }
    if reset {
        return Ok(to(None));
    }
    if !cursor.take_token(&Token::Eq) && !cursor.take(&["TO"]) {
        return cursor.unexpected("= or TO");
    }
    if branch {
        return Ok(Some(Command::UseBranch(ref_name(cursor, RefKind::Branch)?)));
    }
    if cursor.take_any(&["DEFAULT", "NULL"]) {
        return Ok(to(None));
    }
    let value = if author {
        cursor.string("the author's name as text")?
    } else if verify {
        cursor.reference("full or metadata")?
    } else {
        cursor.reference("a revision")?
    };
    Ok(to(Some(value)))
}
