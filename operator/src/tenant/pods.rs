//! What is in a tenant's pods besides release and database: sizes and scheduling of its plan, and the operator's own template. Pure.
//!
//! A change of it restarts the pods. One line in a Plan, or a new version of the operator, must not restart a whole fleet at once, so
//! the settings in force are recorded on the Namespace, and stay until the tenant's turn has come: a channel lets them travel in its
//! waves like a release. What somebody asks for of one tenant, another plan for instance, comes at once.

use serde::{Deserialize, Serialize};

use crate::{
    api::{Plan, Scheduling, Tenant},
    names,
};

/// The number of the pod templates that this operator makes. It grows with each change of them that is not one of release, plan or
/// database; the templates of the number before can still be made, for the tenants whose turn has not come.
///
/// - 1: the kubelet waits for three seconds before it tells a CRM to end.
/// - 2: it tells it at once, since the CRM goes on answering by itself (`crm-app/src/leaving.rs`).
pub const TEMPLATE_REVISION: u32 = 2;

/// What is in a tenant's pods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSettings {
    /// Number of the pod templates.
    pub template: u32,
    /// Name of the plan.
    pub plan: String,
    /// Size of a CRM pod.
    pub app: Size,
    /// Size of the database pod.
    pub database: Size,
    /// Where they run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduling: Option<Scheduling>,
}

/// Processor time and memory, as the plan writes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Size {
    /// Requested processor time.
    pub cpu: String,
    /// Memory.
    pub memory: String,
}

impl PodSettings {
    /// What a plan and this operator want.
    pub fn wanted(name: &str, plan: &Plan, template: u32) -> Self {
        let size = |cpu: &str, memory: &str| Size { cpu: cpu.to_owned(), memory: memory.to_owned() };
        let (app, database) = (&plan.spec.app, &plan.spec.database);
        Self {
            template,
            plan: name.to_owned(),
            app: size(&app.cpu, &app.memory),
            database: size(&database.cpu, &database.memory),
            scheduling: plan.spec.scheduling.clone(),
        }
    }

    /// The settings in the annotation; `None` if it is none, or makes no sense.
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// What the annotation says.
    pub fn written(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    /// A word of eight letters and digits that other settings do not have.
    pub fn digest(&self) -> String {
        // Only maps with keys that are no text cannot be written, and there are none.
        names::short_hash(&[&self.written().unwrap_or_default()])
    }

    /// Whether it is the same but for the template.
    fn differs_in_template_alone(&self, other: &Self) -> bool {
        Self { template: other.template, ..self.clone() } == *other
    }
}

/// What decides which settings are in force.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// What its pods were made with last; `None` before they were made.
    pub recorded: Option<&'a PodSettings>,
    /// What plan and operator want.
    pub wanted: &'a PodSettings,
    /// What its channel lets it take, by its digest.
    pub told: Option<&'a str>,
    /// It has a channel.
    pub follows: bool,
    /// What becomes of its pods now.
    pub moment: Moment,
}

/// What becomes of a tenant's pods at this moment, whatever their settings are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// There are none that could be restarted.
    Stopped,
    /// They are replaced now.
    Rolling,
    /// They will be replaced soon: an upgrade is under way.
    Upgrading,
    /// Nothing.
    Calm,
}

/// The settings in force.
pub fn in_force(scene: &Scene<'_>) -> PodSettings {
    let wanted = scene.wanted.clone();
    let Some(recorded) = scene.recorded else { return wanted };
    let is_asked_for = recorded.plan != wanted.plan;
    let stays = match scene.moment {
        Moment::Stopped | Moment::Rolling => false,
        // They come with the pods of the other release, so that these start once.
        Moment::Upgrading => true,
        Moment::Calm if scene.follows => !is_asked_for && scene.told != Some(wanted.digest().as_str()),
        Moment::Calm => recorded.differs_in_template_alone(&wanted),
    };
    if stays { recorded.clone() } else { wanted }
}

/// What its channel has let it take.
pub fn told(tenant: &Tenant) -> Option<&str> {
    tenant.status.as_ref()?.target_pod_settings.as_deref()
}

#[cfg(test)]
mod tests;
