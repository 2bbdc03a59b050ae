//! Rights of Kubernetes: roles and bindings, made with POST and taken back by UID.

use kube::Client;
use kube::api::{DynamicObject, PostParams};
use lapse_cluster::objects::{ObjectPlace, manifest};
use lapse_cluster::{CallError, bounded};
use lapse_crds::Grant;
use lapse_engine::grant::ObjectSpec;

use super::delete_by_uid::delete_by_uid;
use crate::echoes::{Echoes, Object};

/// Creates an object, and returns it as it was stored. A name that is taken is an error: nothing that exists is ever
/// adopted.
pub(crate) async fn create(
    client: &Client,
    grant: &Grant,
    object: &ObjectSpec,
) -> Result<DynamicObject, CallError> {
    let made = manifest(grant, object);
    let api = ObjectPlace::of(object).api(client);
    let what = format!("creating {}", object.describe());
    bounded(what, api.create(&PostParams::default(), &made)).await
}

/// Deletes the object of a Grant, whoever takes it back: that it is gone gives this process no reason to look.
pub(crate) async fn take_back(
    client: &Client,
    echoes: &Echoes,
    place: &ObjectPlace<'_>,
    uid: &str,
) -> Result<(), CallError> {
    let writing = echoes.begin(Object::at(place));
    delete(client, place, uid).await?;
    writing.deleted();
    Ok(())
}

/// Deletes the object of this UID. That it is gone already, or that another stands under its name,
/// is no error: a live read tells.
pub(crate) async fn delete(
    client: &Client,
    place: &ObjectPlace<'_>,
    uid: &str,
) -> Result<(), CallError> {
    let what = format!("{} {}", place.kind, place.name);
    delete_by_uid(&place.api(client), place.name, uid, None, what).await
}
