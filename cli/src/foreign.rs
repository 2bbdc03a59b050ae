//! What another release of Lapse stored, read as far as this one knows it.
//!
//! What a status says beyond that is left out, so that the rest can be seen. What a spec says beyond is told: it asks for more than is
//! shown. An object that cannot be read even so is told, and hides no other.

use kube::api::GetParams;
use kube::core::{Request, Resource};
use kube::runtime::watcher::Event;
use kube::{Api, ResourceExt as _};
use lapse_cluster::Stored;
use lapse_crds::API_GROUP;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use crate::fault::Fault;
use crate::offers;
use crate::output::plain;
use crate::session::Session;

/// How many parts of one object are left out at most.
const MOST: usize = 64;

/// An object, as far as this release knows it.
#[derive(Debug)]
pub(crate) struct Known<K> {
    pub(crate) object: K,
    /// What of its status is left out, and why.
    pub(crate) left_out: Vec<String>,
    /// The fields of its spec that are not known.
    pub(crate) beyond: Vec<String>,
}

/// Reads an object; the error is why it cannot be read.
pub(crate) fn known<K>(stored: &Stored<K>) -> Result<Known<K>, String>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    // Those of Kubernetes are not ours to judge.
    if K::group(&()) != API_GROUP {
        return stored.object().map(Known::whole);
    }
    let mut value: Value = stored.read()?;
    let mut left_out = Vec::new();
    loop {
        let mut beyond = Vec::new();
        let mut note = |path: serde_ignored::Path<'_>| beyond.push(path.to_string());
        let read = serde_ignored::Deserializer::new(&value, &mut note);
        let (why, is_without) = match serde_path_to_error::deserialize(read) {
            Ok(object) => {
                // Of an optional field the path says that it is there.
                let beyond = beyond.into_iter().map(|path| path.replace(".?", ""));
                let beyond = beyond.filter(|path| path.starts_with("spec.")).collect();
                return Ok(Known { object, left_out, beyond });
            }
            Err(error) => {
                let said = error.inner().to_string();
                let said = said.split(", expected").next().unwrap_or_default();
                let why = plain(&format!("{}: {said}", error.path()));
                (why, leave_out(&mut value, error.path()))
            }
        };
        if !is_without || left_out.len() == MOST {
            return Err(why);
        }
        left_out.push(why);
    }
}

impl<K> Known<K> {
    fn whole(object: K) -> Self {
        Self { object, left_out: Vec::new(), beyond: Vec::new() }
    }

    /// The first thing about it that is not known.
    pub(crate) fn strange(&self) -> Option<&str> {
        self.beyond.first().or(self.left_out.first()).map(String::as_str)
    }
}

/// Takes a part of a status out; whether that could be done. Without its phase an object would be taken for another.
fn leave_out(value: &mut Value, path: &Path) -> bool {
    let segments: Vec<&Segment> = path.iter().collect();
    let Some((last, parents)) = segments.split_last() else { return false };
    let is = |segment: &Segment, name: &str| matches!(segment, Segment::Map { key } if key == name);
    let is_of_status = parents.first().is_some_and(|first| is(first, "status"));
    if !is_of_status || (parents.len() == 1 && is(last, "phase")) {
        return false;
    }
    let mut at = value;
    for segment in parents {
        let inner = match segment {
            Segment::Map { key } => at.get_mut(key),
            Segment::Seq { index } => at.get_mut(*index),
            Segment::Enum { .. } | Segment::Unknown => None,
        };
        let Some(inner) = inner else { return false };
        at = inner;
    }
    match (last, at) {
        (Segment::Map { key }, Value::Object(fields)) => fields.remove(key).is_some(),
        (Segment::Seq { index }, Value::Array(items)) if *index < items.len() => {
            items.remove(*index);
            true
        }
        _ => false,
    }
}

/// An object by its name.
pub(crate) async fn get<K>(
    session: &Session,
    what: &str,
    api: &Api<K>,
    name: &str,
) -> Result<Known<K>, Fault>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    let read = async {
        let request = Request::new(api.resource_url()).get(name, &GetParams::default());
        session.client.request(request.map_err(kube::Error::BuildRequest)?).await
    };
    let stored: Stored<K> = session.call(what, read).await?;
    match known(&stored) {
        Ok(known) => Ok(known),
        Err(why) => Err(unreadable(session, what, &name_of(&stored), &why).await),
    }
}

/// What a watch tells; the error is why the object cannot be read.
pub(crate) fn event<K>(event: Event<Stored<K>>) -> Result<Event<K>, String>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    let read = |stored: Stored<K>| match known(&stored) {
        Ok(known) => Ok(known.object),
        Err(why) => Err(unread(&name_of(&stored), &why)),
    };
    Ok(match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(stored) => Event::InitApply(read(stored)?),
        Event::Apply(stored) => Event::Apply(read(stored)?),
        Event::Delete(stored) => Event::Delete(read(stored)?),
    })
}

/// The name of an object that perhaps cannot be read.
pub(crate) fn name_of<K: Resource<DynamicType = ()>>(stored: &Stored<K>) -> String {
    format!("{} {}", K::kind(&()), plain(&stored.name_any()))
}

fn unread(name: &str, why: &str) -> String {
    format!("this kubectl jit cannot read {name} ({why})")
}

/// That an object cannot be read, with both releases.
pub(crate) async fn unreadable(session: &Session, what: &str, name: &str, why: &str) -> Fault {
    let releases = releases(session).await;
    Fault::Other(format!("{what}: {}: {releases}", unread(name, why)))
}

/// What of a list is not known, to be told once.
#[derive(Debug, Default)]
pub(crate) struct Strange {
    /// How many objects say more than is known, and the first thing that they say.
    partly: Option<(usize, String)>,
    /// How many cannot be read, and why the first of them cannot.
    unread: Option<(usize, String)>,
}

impl Strange {
    pub(crate) fn note_part(&mut self, name: &str, what: &str) {
        note(&mut self.partly, || format!("{what} of {name}"));
    }

    pub(crate) fn note_unread(&mut self, name: &str, why: &str) {
        note(&mut self.unread, || format!("{name} ({why})"));
    }

    /// Tells it, if there is any.
    pub(crate) async fn tell(self, session: &Session) {
        let told = self.told();
        if !told.is_empty() && !session.is_silent() {
            let releases = releases(session).await;
            for told in &told {
                session.warn(&format!("{told}: {releases}"));
            }
        }
    }

    fn told(self) -> Vec<String> {
        let partly = self.partly.map(|(count, first)| {
            format!("this kubectl jit does not know all that {count} of these objects say, such as {first}")
        });
        let unread = self.unread.map(|(count, first)| {
            format!("this kubectl jit cannot read {count} of these objects, and leaves them out, such as {first}")
        });
        partly.into_iter().chain(unread).collect()
    }
}

fn note(noted: &mut Option<(usize, String)>, first: impl FnOnce() -> String) {
    match noted {
        Some((count, _)) => *count += 1,
        None => *noted = Some((1, first())),
    }
}

/// The release of the cluster's Lapse and ours, and what to do.
pub(crate) async fn releases(session: &Session) -> String {
    let theirs = offers::release(session).await;
    format!("{}; {}", offers::differ(theirs.as_deref()), offers::SAME_RELEASE)
}

#[cfg(test)]
mod tests {
    use lapse_crds::AccessRequest;
    use serde_json::json;

    use super::*;
    use crate::testing::{refusal, request, session};

    fn stored(changes: &[(&str, Value)]) -> Stored<AccessRequest> {
        let target = json!({"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}});
        let mut request = request("fix", &target);
        request["status"] = json!({
            "phase": "Active",
            "checks": [{"name": "Policy", "outcome": "Pass", "message": "It decides."}],
        });
        for (at, value) in changes {
            let (parent, field) = at.rsplit_once('/').unwrap();
            match request.pointer_mut(parent).unwrap() {
                Value::Array(items) => items.push(value.clone()),
                parent => parent[field] = value.clone(),
            }
        }
        serde_json::from_str(&request.to_string()).unwrap()
    }

    #[test]
    fn what_a_status_says_beyond_what_is_known_is_left_out() {
        let weather = json!({"name": "Weather", "outcome": "Pass", "message": "It is fine."});
        let known = known(&stored(&[
            ("/status/checks/-", weather),
            ("/status/endReason", json!("Rained")),
            ("/status/forecast", json!("Sunny")),
        ]))
        .unwrap();
        let status = known.object.status.as_ref().unwrap();
        assert_eq!((status.checks.len(), status.end_reason), (1, None));
        insta::assert_snapshot!(known.left_out.join("\n"), @r"
        status.checks[1].name: unknown variant `Weather`
        status.checks[1]: missing field `name`
        status.endReason: unknown variant `Rained`
        ");
        assert_eq!(known.beyond, [""; 0], "a field that is new in a status is passed over");
    }

    #[test]
    fn what_a_spec_asks_for_beyond_what_is_known_is_told() {
        let more = json!({"ports": [22]});
        let known = known(&stored(&[("/spec/target/kubernetes/tunnel", more)])).unwrap();
        assert_eq!(known.beyond, ["spec.target.kubernetes.tunnel"]);
        assert_eq!(known.strange(), Some("spec.target.kubernetes.tunnel"));
    }

    #[test]
    fn what_cannot_be_read_without_being_another_is_an_error() {
        let why = |changes: &[(&str, Value)]| known(&stored(changes)).unwrap_err();
        let told = [
            why(&[("/status/phase", json!("Paused"))]),
            why(&[("/spec/target/kubernetes/role/kind", json!("NodeRole"))]),
        ];
        insta::assert_snapshot!(told.join("\n"), @r"
        status.phase: unknown variant `Paused`
        spec.target.kubernetes.role.kind: unknown variant `NodeRole`
        ");
    }

    #[tokio::test]
    async fn what_is_not_known_is_told_once_with_both_releases() {
        let mut strange = Strange::default();
        for name in ["fix", "fire"] {
            strange.note_part(name, "spec.tunnel");
            strange.note_unread(name, "status.phase: unknown variant `Paused`");
        }
        let told = strange.told().join("\n");
        let session = session(30, |_| Some(refusal(403, "Forbidden", "no")));
        let fault = unreadable(&session, "reading request fix", "AccessRequest fix", "why").await;
        let told = format!("{told}\n{fault}").replace(offers::OURS, "OURS");
        insta::assert_snapshot!(told, @r"
        this kubectl jit does not know all that 2 of these objects say, such as spec.tunnel of fix
        this kubectl jit cannot read 2 of these objects, and leaves them out, such as fix (status.phase: unknown variant `Paused`)
        reading request fix: this kubectl jit cannot read AccessRequest fix (why): the Lapse of this cluster does not say of which release it is, and this kubectl jit is of OURS; use the kubectl jit of the release that is installed, or ask an administrator to upgrade Lapse
        ");
    }
}
