//! Objects that are none of the operator's business: large Secrets in namespaces that belong to no tenant, and in its own.

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::{
    ByteString,
    api::core::v1::{Namespace, Secret},
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};

use crate::helm;

/// Over how many namespaces they are spread.
const NAMESPACES: usize = 10;
/// How many are posted at the same time.
const POSTS: usize = 4;

/// Makes so many Secrets of this size; every tenth stands where the operator lives.
pub(super) async fn make_secrets(client: &Client, count: usize, bytes: usize) -> Result<()> {
    let name = |number: usize| match number % NAMESPACES {
        0 => helm::NAMESPACE.to_owned(),
        other => format!("unrelated-{other}"),
    };
    for number in 1..NAMESPACES {
        let namespace = Namespace { metadata: metadata(&name(number)), ..Namespace::default() };
        Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;
    }
    stream::iter(0..count)
        .map(|number| {
            let secrets: Api<Secret> = Api::namespaced(client.clone(), &name(number));
            async move {
                let data = [("data".to_owned(), ByteString(noise(number, bytes)))].into();
                let metadata = metadata(&format!("unrelated-{number}"));
                let secret = Secret { metadata, data: Some(data), ..Secret::default() };
                secrets.create(&PostParams::default(), &secret).await
            }
        })
        .buffer_unordered(POSTS)
        .try_for_each(async |_| Ok(()))
        .await?;
    Ok(())
}

fn metadata(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

/// Bytes that cannot be compressed, other ones for each Secret: a linear congruential generator.
fn noise(seed: usize, bytes: usize) -> Vec<u8> {
    let mut state = seed as u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..bytes).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_differs_and_has_the_size() {
        let [one, other] = [1, 2].map(|seed| noise(seed, 1000));
        assert_eq!((one.len(), other.len()), (1000, 1000));
        assert_ne!(one, other);
        assert_eq!(one, noise(1, 1000));
    }
}
