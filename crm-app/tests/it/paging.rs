//! Lists by keyset: nobody is shown twice or left out, whatever is added meanwhile.

use std::collections::HashSet;

use jiff::SignedDuration;
use proptest::{prelude::*, strategy::ValueTree as _};
use serde_json::{Value, json};

use crate::{app::TestApp, client::Client};

async fn page(
    client: &Client,
    sort: &str,
    limit: usize,
    cursor: Option<&str>,
) -> (Vec<Value>, Option<String>) {
    let limit = limit.to_string();
    let mut query = vec![("sort", sort), ("limit", &limit)];
    query.extend(cursor.map(|cursor| ("cursor", cursor)));
    let page = client.companies(&query).await.expect(200);
    let next = page["nextCursor"].as_str().map(str::to_owned);
    (page["items"].as_array().unwrap().clone(), next)
}

fn ids(items: &[Value]) -> Vec<String> {
    items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn pages_join_without_gap_or_overlap() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(12));
    let plans =
        prop::collection::vec((1..6_usize, prop::collection::vec((0..4_usize, any::<bool>()), 0..6)), 1..2);
    for round in 0..12 {
        let (limit, additions) = plans.new_tree(&mut runner).unwrap().current().remove(0);
        for n in 0..4 {
            // Names that are equal, and times that are equal, so that ids must decide.
            admin.company_named(["中国", "北京", "中国", "Acme"][n]).await;
            if round % 2 == 0 {
                app.advance(SignedDuration::from_millis(1));
            }
        }
        for sort in ["-updatedAt", "name"] {
            let before: HashSet<_> = ids(&page(&admin, sort, 200, None).await.0).into_iter().collect();
            let mut additions = additions.iter();
            let (mut seen, mut cursor) = (Vec::new(), None);
            loop {
                let (items, next) = page(&admin, sort, limit, cursor.as_deref()).await;
                assert!(items.len() <= limit);
                seen.extend(ids(&items));
                if let Some((name, later)) = additions.next() {
                    if *later {
                        app.advance(SignedDuration::from_millis(1));
                    }
                    admin.company_named(["Aaa", "中", "龙", "Zzz"][*name]).await;
                }
                match next {
                    None => break,
                    next => cursor = next,
                }
            }
            let unique: HashSet<_> = seen.iter().cloned().collect();
            assert_eq!(unique.len(), seen.len(), "shown twice (sort={sort}, limit={limit})");
            assert!(before.is_subset(&unique), "left out (sort={sort}, limit={limit})");
        }
    }
}

#[tokio::test]
async fn the_order_is_what_was_asked_for() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    for name in ["中国", "Acme", "北京", "阿里"] {
        admin.company_named(name).await;
        app.advance(SignedDuration::from_secs(1));
    }
    let names = async |sort| {
        let (items, _) = page(&admin, sort, 10, None).await;
        items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("-updatedAt").await, ["阿里", "北京", "Acme", "中国"]);
    assert_eq!(names("name").await, ["阿里", "Acme", "北京", "中国"]);
    assert_eq!(page(&admin, "name", 4, None).await.1, None, "a full last page is the last");
}

#[tokio::test]
async fn other_parameters_are_refused() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    admin.company_named("a").await;
    admin.company_named("b").await;
    let cursor = page(&admin, "name", 1, None).await.1.unwrap();
    admin.companies(&[("cursor", &cursor)]).await.expect_invalid("cursor", "format");
    admin.companies(&[("cursor", "!")]).await.expect_invalid("cursor", "format");
    admin.companies(&[("limit", "0")]).await.expect_invalid("limit", "range");
    admin.companies(&[("limit", "201")]).await.expect_invalid("limit", "range");
    admin.companies(&[("limit", "-1")]).await.expect_problem(422, "invalid");
    admin.companies(&[("sort", "id; drop table crm.company")]).await.expect_problem(422, "invalid");
    admin.companies(&[("q", &"x".repeat(201))]).await.expect_invalid("q", "too-long");
    assert_eq!(admin.companies(&[("q", "")]).await.expect(200)["items"].as_array().unwrap().len(), 2);
    assert_eq!(json!(admin.get("/api/v1/companies").await.expect(200)["nextCursor"]), json!(null));
}
