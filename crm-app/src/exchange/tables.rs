//! What of each table leaves the house in an exit bundle's open files, written down column by column: what is added to the schema
//! has to be decided here, and a test asks for it.

/// A table, as open files show it.
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// What it holds, for the reader.
    pub about: &'static str,
    /// Its columns, in order.
    pub columns: &'static [&'static str],
    /// By what its rows are sorted.
    pub order: &'static str,
    /// Columns that are not shown.
    pub left_out: &'static [LeftOut],
}

/// Something that is not shown.
pub struct LeftOut {
    /// Table or column.
    pub name: &'static str,
    /// Why.
    pub why: &'static str,
}

const SECRET: &str = "secret; it is only in database/crm.dump, which needs it for signing in";
const DERIVED: &str = "made from other columns, for search and order";

/// The tables that are shown.
pub const TABLES: &[Table] = &[
    Table {
        name: "app_user",
        about: "the people who use the CRM",
        columns: &["id", "name", "email", "role", "status", "created_at", "updated_at"],
        order: "id",
        left_out: &[LeftOut { name: "password_hash", why: SECRET }],
    },
    Table {
        name: "audit_log",
        about: "who did what: one chain, which README.md says how to verify",
        columns: &[
            "id",
            "at",
            "actor_id",
            "action",
            "object",
            "record_id",
            "changes",
            "salt",
            "digest",
            "hash",
        ],
        order: "id",
        left_out: &[],
    },
    Table {
        name: "company",
        about: "the companies",
        columns: &[
            "id",
            "version",
            "seq",
            "name",
            "short_name",
            "uscc",
            "level",
            "industry",
            "phone",
            "email",
            "website",
            "address",
            "annual_revenue",
            "next_contact_on",
            "owner_id",
            "created_at",
            "created_by",
            "updated_at",
            "updated_by",
        ],
        order: "id",
        left_out: &[
            LeftOut { name: "name_key", why: DERIVED },
            LeftOut { name: "search_text", why: DERIVED },
            LeftOut { name: "search_grams", why: DERIVED },
        ],
    },
];

/// The tables that are not, neither in open files nor, but for the last, in the dump.
pub const TABLES_LEFT_OUT: &[LeftOut] = &[
    LeftOut { name: "exit_link", why: "links by which such a bundle is fetched hold only here" },
    LeftOut { name: "one_time_link", why: "links that let people in hold only here" },
    LeftOut { name: "rate_limit", why: "about requests of the last minutes" },
    LeftOut { name: "session", why: "who is signed in here is not signed in elsewhere" },
    LeftOut { name: "schema_migration", why: "which version the schema has; manifest.json says it" },
];

/// Tables whose rows the dump leaves out; the tables themselves are in it.
pub(super) const ROWS_NOT_DUMPED: [&str; 4] = ["exit_link", "one_time_link", "rate_limit", "session"];
