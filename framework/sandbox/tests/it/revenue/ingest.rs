//! Ingestion in its simple form.

use headwater_sandbox::{API_KEY, PARTNER_KEY};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Tenant, answer};

fn request(tenant: &Tenant, method: Method, target: &str) -> reqwest::RequestBuilder {
    tenant
        .bare(method, &format!("/v2/ingest{target}"))
        .header("apikey", API_KEY)
        .header("partnerkey", PARTNER_KEY)
}

fn records(count: usize) -> Value {
    let record = json!({"id": "001", "createdAt": 1, "updatedAt": 2, "score": 5});
    json!([{"sourceEntity": "a", "records": vec![record; count]}])
}

#[tokio::test]
async fn both_keys_are_asked_for() {
    let tenant = Tenant::usual().await;
    let bare = |target: &str| tenant.bare(Method::GET, &format!("/v2/ingest{target}"));
    let (status, body) = answer(bare("/job/x")).await;
    assert_eq!(
        (status, body),
        (401, json!({"error": "No API key found in request"}))
    );
    let (status, body) = answer(bare("/schema/account/field").header("apikey", API_KEY)).await;
    assert_eq!(
        (status, &body[0]["errorCode"]),
        (401, &json!("INVALID_PARTNER_KEY"))
    );
}

#[tokio::test]
async fn records_are_checked() {
    let tenant = Tenant::usual().await;
    let send = async |target: &str, body: Value| {
        answer(request(&tenant, Method::POST, target).json(&body)).await
    };
    let good = "/entity/account?mode=incremental&isLastBatch=true";
    assert_eq!(send(good, records(100)).await.0, 200);
    for (target, body) in [
        (good, records(101)),
        (good, json!({})),
        (good, json!([{"records": []}])),
        (good, json!([{"sourceEntity": "a"}])),
        (
            good,
            json!([{"sourceEntity": "a", "records": [{"id": "1"}]}]),
        ),
        ("/entity/planet", records(1)),
        ("/entity/account?mode=often", records(1)),
        ("/entity/account?isLastBatch=perhaps", records(1)),
    ] {
        let (status, answer) = send(target, body).await;
        assert_eq!(
            (status, &answer[0]["errorCode"]),
            (400, &json!("INVALID_INPUT_FORMAT"))
        );
    }
}

#[tokio::test]
async fn files_are_taken_and_have_a_status() {
    let tenant = Tenant::usual().await;
    let upload = async |part: &str, content: &str| {
        let body = format!(
            "--b\r\nContent-Disposition: form-data; name=\"{part}\"; filename=\"data.json\"\r\n\
             Content-Type: application/json\r\n\r\n{content}\r\n--b--\r\n"
        );
        let request = request(&tenant, Method::POST, "/bulk/entity/account");
        let request = request.header("content-type", "multipart/form-data; boundary=b");
        answer(request.body(body)).await
    };
    for (content, expected, word) in [
        (records(200).to_string(), 200, "SUCCESS"),
        ("{}".to_owned(), 400, "VALIDATION_FAILED"),
    ] {
        let (status, body) = upload("FileData", &content).await;
        assert_eq!(status, 202, "{body}");
        let target = format!("/job/{}", body["jobId"].as_str().unwrap());
        let (status, body) = answer(request(&tenant, Method::GET, &target)).await;
        assert_eq!(
            (status, &body["message"]["status"]),
            (expected, &json!(word))
        );
    }
    let (status, body) = upload("Other", "[]").await;
    assert_eq!(
        (status, &body[0]["errorCode"]),
        (400, &json!("INVALID_FILE_FORMAT"))
    );
    let (status, body) = answer(request(&tenant, Method::GET, "/job/x")).await;
    assert_eq!((status, body["error"].is_string()), (404, true));
}

#[tokio::test]
async fn picklists_grow() {
    let tenant = Tenant::usual().await;
    let target = "/schema/account/field";
    let add = async |body: Value| {
        answer(request(&tenant, Method::POST, target).json(&body))
            .await
            .0
    };
    let of = |name: &str, values: Value| json!({"fieldName": name, "fieldType": "picklist", "values": values});
    assert_eq!(add(of("tier", json!(["a", "b"]))).await, 200);
    assert_eq!(add(of("tier", json!(["b", "c"]))).await, 200);
    assert_eq!(add(of("size", json!(["s"]))).await, 200);
    for bad in [
        of("", json!(["a"])),
        of("tier", json!([])),
        json!({"fieldName": "tier", "fieldType": "text", "values": ["a"]}),
    ] {
        assert_eq!(add(bad).await, 400);
    }
    let read = async |target: &str| answer(request(&tenant, Method::GET, target)).await.1;
    assert_eq!(
        read(target).await,
        json!({"tier": ["a", "b", "c"], "size": ["s"]})
    );
    let one = format!("{target}?fieldNames=size,none");
    assert_eq!(read(&one).await, json!({"size": ["s"]}));
    assert_eq!(read("/schema/opportunity/field").await, json!({}));
}
