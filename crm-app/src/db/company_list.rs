//! Companies, page by page: the one query that lists and searches.

use jiff::Timestamp;
use sqlx::{PgConnection, Postgres, QueryBuilder};
use uuid::Uuid;

use super::{company::CompanyRow, instant};
use crate::domain::search::Query;

const SELECT: &str = "
    select c.id, c.version, c.name, c.short_name, c.uscc, c.level, c.industry, c.phone, c.email, c.website,
           c.address, c.annual_revenue::text as annual_revenue, c.next_contact_on, c.owner_id,
           u.name as owner_name, c.name_key, c.created_by, c.created_at, c.updated_at
    from crm.company c left join crm.app_user u on u.id = c.owner_id
    where true";

/// The order of a list, and where the last page ended in it. Ids decide between equals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// What changed last comes first.
    UpdatedDescending(Option<(Timestamp, Uuid)>),
    /// By name.
    Name(Option<(String, Uuid)>),
}

/// At most `limit` companies behind the place where the last page ended.
pub async fn page(
    db: &mut PgConnection,
    search: Option<&Query>,
    order: &Order,
    limit: i64,
) -> Result<Vec<CompanyRow>, sqlx::Error> {
    let mut sql = QueryBuilder::<Postgres>::new(SELECT);
    if let Some(query) = search {
        push_search(&mut sql, query);
    }
    match order {
        Order::UpdatedDescending(after) => {
            if let Some((updated_at, id)) = after {
                sql.push(" and (c.updated_at, c.id) < (").push_bind(instant(*updated_at));
                sql.push(", ").push_bind(*id).push(")");
            }
            sql.push(" order by c.updated_at desc, c.id desc limit ");
        }
        Order::Name(after) => {
            if let Some((name_key, id)) = after {
                sql.push(" and (c.name_key, c.id) > (").push_bind(name_key.clone());
                sql.push(", ").push_bind(*id).push(")");
            }
            sql.push(" order by c.name_key, c.id limit ");
        }
    }
    sql.push_bind(limit);
    // A kept plan would have to suit rare and common words alike, and suits only one of them.
    sql.build_query_as().persistent(search.is_none()).fetch_all(db).await
}

/// The index narrows down to records that have all pieces; comparing the text makes it exact.
fn push_search(sql: &mut QueryBuilder<Postgres>, query: &Query) {
    sql.push(" and ((c.search_grams @> ").push_bind(query.grams.clone());
    sql.push(" and strpos(c.search_text, ").push_bind(query.text.clone()).push(") > 0)");
    if let Some(tail) = &query.phone_tail {
        sql.push(" or c.search_grams @> ").push_bind(vec![tail.clone()]);
    }
    sql.push(")");
}

/// Companies whose stored search text or pieces are not what they should be.
pub async fn stale_index_entries(db: &mut PgConnection) -> Result<Vec<Uuid>, sqlx::Error> {
    use futures_util::TryStreamExt as _;

    let mut rows = sqlx::query!(
        "select id, name, short_name, phone, name_key, search_text, search_grams from crm.company order by id"
    )
    .fetch(db);
    let mut stale = Vec::new();
    while let Some(row) = rows.try_next().await? {
        let digits = row.phone.as_deref().map(crate::domain::phone::digits);
        let wanted = crate::domain::search::index(&row.name, row.short_name.as_deref(), digits.as_deref());
        if (row.search_text, row.search_grams, row.name_key) != (wanted.text, wanted.grams, wanted.sort_key) {
            stale.push(row.id);
        }
    }
    Ok(stale)
}
