//! Companies, one at a time.

use jiff::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Day, Instant, instant, write::Sealed};
use crate::domain::{
    company::{Address, CompanyFields, CompanyName, Industry, Level, ShortName},
    email::Email,
    money::Amount,
    phone::Phone,
    uscc::Uscc,
    website::Website,
};

/// A company as stored, with its owner's name.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct CompanyRow {
    /// Which.
    pub id: Uuid,
    /// Grows by one with each change.
    pub version: i32,
    /// The full name.
    pub name: CompanyName,
    /// What people call it.
    pub short_name: Option<ShortName>,
    /// Its registration.
    pub uscc: Option<Uscc>,
    /// How much it matters.
    pub level: Option<Level>,
    /// What it does.
    pub industry: Option<Industry>,
    /// The switchboard.
    pub phone: Option<Phone>,
    /// The general address.
    pub email: Option<Email>,
    /// Its site.
    pub website: Option<Website>,
    /// Where it is.
    pub address: Option<Address>,
    /// What it turns over in a year.
    pub annual_revenue: Option<Amount>,
    /// When to get in touch again.
    pub next_contact_on: Option<Day>,
    /// Who looks after it.
    pub owner_id: Option<Uuid>,
    /// Their name.
    pub owner_name: Option<String>,
    /// What sorting by name compares.
    pub name_key: String,
    /// Who added it.
    pub created_by: Uuid,
    /// When.
    pub created_at: Instant,
    /// When it last changed.
    pub updated_at: Instant,
}

impl CompanyRow {
    /// What people edit.
    pub fn fields(&self) -> CompanyFields {
        let row = self.clone();
        CompanyFields {
            name: row.name,
            short_name: row.short_name,
            uscc: row.uscc,
            level: row.level,
            industry: row.industry,
            phone: row.phone,
            email: row.email,
            website: row.website,
            address: row.address,
            annual_revenue: row.annual_revenue,
            next_contact_on: row.next_contact_on.map(Day::to_jiff),
            owner_id: row.owner_id,
        }
    }
}

/// One company.
pub async fn find(db: &mut PgConnection, id: Uuid) -> Result<Option<CompanyRow>, sqlx::Error> {
    sqlx::query_as!(
        CompanyRow,
        r#"select c.id, c.version, c.name as "name: CompanyName", c.short_name as "short_name: ShortName",
                  c.uscc as "uscc: Uscc", c.level as "level: Level", c.industry as "industry: Industry",
                  c.phone as "phone: Phone", c.email as "email: Email", c.website as "website: Website",
                  c.address as "address: Address", c.annual_revenue::text as "annual_revenue: Amount",
                  c.next_contact_on, c.owner_id, u.name as "owner_name?", c.name_key, c.created_by,
                  c.created_at, c.updated_at
           from crm.company c left join crm.app_user u on u.id = c.owner_id
           where c.id = $1"#,
        id
    )
    .fetch_optional(db)
    .await
}

/// Holds a company still until the end of the transaction.
pub async fn lock(db: &mut PgConnection, id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query!("select id from crm.company where id = $1 for no key update", id).fetch_optional(db).await?;
    Ok(())
}

/// Adds a company; `false` when there already is one with this id.
pub async fn insert(
    tx: &mut Sealed,
    id: Uuid,
    fields: &CompanyFields,
    author: Uuid,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let index = fields.index();
    let inserted = sqlx::query!(
        "insert into crm.company
             (id, seq, name, short_name, uscc, level, industry, phone, email, website, address, annual_revenue,
              next_contact_on, owner_id, name_key, search_text, search_grams, created_at, created_by, updated_at, updated_by)
         values ($1, nextval('crm.change_seq'), $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::text::numeric, $12, $13, $14, $15, $16,
                 $17, $18, $17, $18)
         on conflict (id) do nothing",
        id,
        &fields.name as _,
        fields.short_name.as_ref() as _,
        fields.uscc.as_ref() as _,
        fields.level as _,
        fields.industry.as_ref() as _,
        fields.phone.as_ref() as _,
        fields.email.as_ref() as _,
        fields.website.as_ref() as _,
        fields.address.as_ref() as _,
        fields.annual_revenue.as_ref() as _,
        fields.next_contact_on.map(jiff_sqlx::ToSqlx::to_sqlx) as _,
        fields.owner_id,
        index.sort_key,
        index.text,
        &index.grams,
        instant(now),
        author,
    )
    .execute(tx.db())
    .await?;
    #[cfg(feature = "test-releases")]
    crate::test_release::company_written(tx.db(), id).await?;
    Ok(inserted.rows_affected() == 1)
}

/// Changes a company that this transaction holds.
pub async fn update(
    tx: &mut Sealed,
    id: Uuid,
    fields: &CompanyFields,
    author: Uuid,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let index = fields.index();
    sqlx::query!(
        "update crm.company set
             version = version + 1, seq = nextval('crm.change_seq'), name = $2, short_name = $3, uscc = $4, level = $5,
             industry = $6, phone = $7, email = $8, website = $9, address = $10, annual_revenue = $11::text::numeric,
             next_contact_on = $12, owner_id = $13, name_key = $14, search_text = $15, search_grams = $16,
             updated_at = $17, updated_by = $18
         where id = $1",
        id,
        &fields.name as _,
        fields.short_name.as_ref() as _,
        fields.uscc.as_ref() as _,
        fields.level as _,
        fields.industry.as_ref() as _,
        fields.phone.as_ref() as _,
        fields.email.as_ref() as _,
        fields.website.as_ref() as _,
        fields.address.as_ref() as _,
        fields.annual_revenue.as_ref() as _,
        fields.next_contact_on.map(jiff_sqlx::ToSqlx::to_sqlx) as _,
        fields.owner_id,
        index.sort_key,
        index.text,
        &index.grams,
        instant(now),
        author,
    )
    .execute(tx.db())
    .await?;
    #[cfg(feature = "test-releases")]
    crate::test_release::company_written(tx.db(), id).await?;
    Ok(())
}
