//! `/api/v1/companies?q=`

use crm_app::domain::search::normalize;
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use serde_json::{Value, json};

use crate::{app::TestApp, client::Client};

async fn found(client: &Client, q: &str) -> Vec<String> {
    let page = client.companies(&[("q", q), ("sort", "name"), ("limit", "200")]).await.expect(200);
    let name = |item: &Value| item["name"].as_str().unwrap().to_owned();
    page["items"].as_array().unwrap().iter().map(name).collect()
}

#[tokio::test]
async fn two_characters_find_a_chinese_company() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    for company in [
        json!({"name": "杭州示例科技有限公司", "shortName": "示科"}),
        json!({"name": "北京例示贸易有限公司"}),
        json!({"name": "ＡＣＭＥ　Ｓｔｒａße GmbH", "phone": "+86 138-0013-8000"}),
        json!({"name": "8000 Rooms", "phone": "110"}),
    ] {
        admin.create_company(company).await.expect(201);
    }
    let example = "杭州示例科技有限公司";
    assert_eq!(found(&admin, "示例").await, [example]);
    assert_eq!(found(&admin, "示科").await, [example]);
    assert_eq!(found(&admin, "司示").await, [""; 0], "not across two fields");
    assert_eq!(found(&admin, "例").await.len(), 2, "one character");
    assert_eq!(found(&admin, "有限公司").await.len(), 2);
    assert_eq!(found(&admin, "acme STRASSE").await.len(), 1, "width and case");
    assert_eq!(found(&admin, "8000").await.len(), 2, "in a name, and at the end of a number");
    assert_eq!(found(&admin, "0013 8000").await.len(), 1);
    assert_eq!(found(&admin, "13800138000").await.len(), 1);
    assert_eq!(found(&admin, "0013").await.len(), 0, "the middle of a number");
    assert_eq!(found(&admin, "110").await.len(), 0, "too short for a number");
    assert_eq!(found(&admin, "%").await.len(), 0);
    assert_eq!(found(&admin, "' or true --").await.len(), 0);
}

#[tokio::test]
async fn a_changed_name_is_found_under_the_new_one_only() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let id = admin.company_named("杭州示例").await;
    admin.update_company(id, 1, json!({"name": "杭州样本", "phone": "13800138000"})).await.expect(200);
    assert_eq!(found(&admin, "示例").await.len(), 0);
    assert_eq!(found(&admin, "样本").await.len(), 1);
    assert_eq!(found(&admin, "8000").await.len(), 1);
    admin.update_company(id, 2, json!({"phone": null})).await.expect(200);
    assert_eq!(found(&admin, "8000").await.len(), 0);
}

#[tokio::test]
async fn search_finds_exactly_what_contains_the_query() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let mut runner = TestRunner::deterministic();
    // A small alphabet makes near misses likely; it has width, case, and characters beyond the first plane.
    let text = "[示例科aAbＡ 𠮷-]{1,8}";
    let mut names = Vec::new();
    while names.len() < 120 {
        let name = text.new_tree(&mut runner).unwrap().current();
        if !name.trim().is_empty() {
            admin.company_named(&name).await;
            names.push(name);
        }
    }
    for _ in 0..150 {
        let query = "[示例科aAbＡ 𠮷-]{1,4}".new_tree(&mut runner).unwrap().current();
        let wanted = normalize(&query);
        if wanted.is_empty() {
            continue;
        }
        let expected = names.iter().filter(|name| normalize(name).contains(&wanted)).count();
        assert_eq!(found(&admin, &query).await.len(), expected, "{query:?}");
    }
}
