//! Tables as open text, and what the catalogue knows of them, for exit bundles.

use futures_util::stream::BoxStream;
use hyper::body::Bytes;
use serde::Serialize;
use sqlx::PgConnection;

/// A form of text.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// RFC 4180, in UTF-8, with a first line of names. Nothing and an empty text differ: the latter is quoted.
    Csv,
    /// One JSON object a line.
    JsonLines,
}

/// A column, as the catalogue knows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Column {
    /// Its name.
    pub name: String,
    /// In PostgreSQL's words.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it may be empty.
    pub nullable: bool,
    /// The comment on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The table whose `id` it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub references: Option<String>,
}

/// Rows of a table as text, as they come.
pub async fn rows<'a>(
    db: &'a mut PgConnection,
    table: &str,
    columns: &[&str],
    order: &str,
    form: Form,
) -> Result<BoxStream<'a, Result<Bytes, sqlx::Error>>, sqlx::Error> {
    // Names come from this program's own text.
    let select = format!("select {} from crm.{table} order by {order}", columns.join(", "));
    let copy = match form {
        Form::Csv => format!("copy ({select}) to stdout (format csv, header)"),
        // CSV of one column, with marks that are never in JSON: it puts nothing in quotes, and so changes nothing.
        Form::JsonLines => format!(
            "copy (select row_to_json(row) from ({select}) row) to stdout (format csv, quote e'\\x01', delimiter e'\\x02')"
        ),
    };
    db.copy_out_raw(&copy).await
}

/// The columns of a table, in order.
pub async fn columns(db: &mut PgConnection, table: &str) -> Result<Vec<Column>, sqlx::Error> {
    sqlx::query_as!(
        Column,
        r#"select a.attname::text as "name!", format_type(a.atttypid, a.atttypmod) as "kind!", not a.attnotnull as "nullable!",
                  col_description(a.attrelid, a.attnum) as comment,
                  (select r.relname::text from pg_constraint f join pg_class r on r.oid = f.confrelid
                   where f.conrelid = a.attrelid and f.contype = 'f' and f.conkey = array[a.attnum] limit 1) as "references"
           from pg_attribute a
           where a.attrelid = format('crm.%I', $1::text)::regclass and a.attnum > 0 and not a.attisdropped
           order by a.attnum"#,
        table,
    )
    .fetch_all(db)
    .await
}
