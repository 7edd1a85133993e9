//! The raw spec becomes a value that is valid, with every default resolved.

use std::collections::BTreeMap;

use kube::ResourceExt;
use payplane_api::config::{Environment, RiskPolicyConfig};
use payplane_api::currency::Currency;
use payplane_api::settlement::{Calendar, CalendarConfig};
use payplane_crds::PaymentTenant;
use payplane_crds::condition::Reason;
use payplane_crds::quantity::Quantity;
use payplane_crds::resources::{ResourceList, Resources};
use payplane_crds::tenant::{self as raw, Profile};

use crate::quantity;
use crate::tenant::build::risk;

/// Why a spec cannot work: a reason for the condition, and the particulars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub reason: Reason,
    pub detail: String,
}

impl Refused {
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

/// A tenant that can be built.
#[derive(Clone, Debug)]
pub struct Tenant {
    pub name: String,
    pub uid: String,
    pub namespace: String,
    pub environment: Environment,
    pub currencies: Vec<Currency>,
    pub calendar: CalendarConfig,
    pub risk: Vec<RiskPolicyConfig>,
    pub spec: raw::PaymentTenantSpec,
    pub effective: raw::Effective,
    pub books_id: Option<String>,
    pub schema_version: Option<u32>,
    pub config: Option<raw::ConfigStatus>,
}

impl Tenant {
    #[must_use]
    pub fn production(&self) -> bool {
        self.effective.profile == Profile::Production
    }

    #[must_use]
    pub fn managed(&self) -> Option<&raw::EffectiveManagedDatabase> {
        self.effective.database.managed.as_ref()
    }

    #[must_use]
    pub fn external(&self) -> Option<&raw::ExternalDatabase> {
        self.spec.database.as_ref().and_then(|d| d.external.as_ref())
    }
}

/// Checks a PaymentTenant and resolves its defaults.
pub fn validate(object: &PaymentTenant) -> Result<Tenant, Refused> {
    let spec = &object.spec;
    let parse = |code: &String| {
        Currency::parse(code)
            .map_err(|e| Refused::new(Reason::CurrencyUnknown, format!("spec.currencies: {e}.")))
    };
    let currencies = spec.currencies.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let calendar = calendar(spec)?;
    let risk = policies(spec)?;
    let effective = effective(spec)?;
    let name = object.name_any();
    Ok(Tenant {
        namespace: payplane_api::names::namespace(&name),
        name,
        uid: object.uid().unwrap_or_default(),
        environment: match spec.environment {
            raw::Environment::Live => Environment::Live,
            raw::Environment::Test => Environment::Test,
        },
        currencies,
        calendar,
        risk,
        spec: spec.clone(),
        effective,
        books_id: object.status.as_ref().and_then(|s| s.books_id.clone()),
        schema_version: object.status.as_ref().and_then(|s| s.schema_version),
        config: object.status.as_ref().and_then(|s| s.config.clone()),
    })
}

/// A policy in a currency that the tenant does not have would never match.
fn policies(spec: &raw::PaymentTenantSpec) -> Result<Vec<RiskPolicyConfig>, Refused> {
    let read = |policy: &raw::RiskPolicy| {
        let field = format!("spec.risk.policies[{}]", policy.name);
        let strange =
            risk::currencies(policy).into_iter().find(|code| !spec.currencies.iter().any(|c| c == code));
        if let Some(code) = strange {
            let detail = format!("{field}: {code} is not one of the tenant's currencies.");
            return Err(Refused::new(Reason::CurrencyUnknown, detail));
        }
        let unread = || Refused::new(Reason::InvalidSpec, format!("{field}: it says too little."));
        risk::policy_config(policy).ok_or_else(unread)
    };
    spec.risk.iter().flat_map(|risk| &risk.policies).map(read).collect()
}

fn calendar(spec: &raw::PaymentTenantSpec) -> Result<CalendarConfig, Refused> {
    let invalid = |detail: String| Refused::new(Reason::InvalidSpec, detail);
    let dates = |texts: &[String], field: &str| {
        let read = |text: &String| {
            text.parse().map_err(|_| invalid(format!("spec.calendar.{field}: {text} is no date.")))
        };
        texts.iter().map(read).collect::<Result<Vec<_>, _>>()
    };
    let days = spec.calendar.clone().unwrap_or_default();
    let config = CalendarConfig {
        timezone: spec.timezone.clone(),
        cutoff: spec.settlement_cutoff.clone(),
        holidays: dates(&days.holidays, "holidays")?,
        working_weekends: dates(&days.working_weekends, "workingWeekends")?,
    };
    let calendar = Calendar::new(&config)
        .map_err(|error| Refused::new(Reason::TimezoneUnknown, format!("spec.timezone: {error}.")))?;
    calendar.settlement_dates(jiff::Timestamp::now()).map_err(|error| {
        Refused::new(Reason::CalendarWithoutWorkingDay, format!("spec.calendar.holidays: {error}."))
    })?;
    Ok(config)
}

fn effective(spec: &raw::PaymentTenantSpec) -> Result<raw::Effective, Refused> {
    let production = spec.profile == Profile::Production;
    let scale = |component: Option<&raw::Component>| raw::EffectiveComponent {
        replicas: component.and_then(|c| c.replicas).unwrap_or(if production { 2 } else { 1 }),
        resources: fill(component.and_then(|c| c.resources.as_ref()), ["50m", "64Mi", "256Mi"]),
    };
    let components = spec.components.clone().unwrap_or_default();
    let components = raw::EffectiveComponents {
        gateway: scale(components.gateway.as_ref()),
        ledger: scale(components.ledger.as_ref()),
    };
    let database = database(spec, production);
    parameters(&database)?;
    let quota = quota(spec, &components, &database)?;
    Ok(raw::Effective {
        currencies: spec.currencies.clone(),
        profile: spec.profile,
        database,
        components,
        quota,
        zone_spread: spec.placement.as_ref().and_then(|p| p.zone_spread).unwrap_or_default(),
    })
}

fn database(spec: &raw::PaymentTenantSpec, production: bool) -> raw::EffectiveDatabase {
    let given = spec.database.clone().unwrap_or_default();
    if let Some(external) = given.external {
        let external = raw::EffectiveExternalDatabase {
            host: external.host,
            port: external.port,
            database: external.database,
        };
        return raw::EffectiveDatabase { managed: None, external: Some(external) };
    }
    let managed = given.managed.unwrap_or_default();
    let storage = managed.storage.unwrap_or_default();
    let mut parameters = BTreeMap::from([
        ("max_connections".to_owned(), "100".to_owned()),
        ("shared_buffers".to_owned(), "64MB".to_owned()),
        // Rows are looked up by key, for which a small sample says enough. The usual one took half a
        // second of a processor for each table, all of them at once.
        ("default_statistics_target".to_owned(), "10".to_owned()),
    ]);
    parameters.extend(managed.parameters);
    let size = if production { "10Gi" } else { "1Gi" };
    let instances = managed.instances.unwrap_or(if production { 3 } else { 1 });
    let managed = raw::EffectiveManagedDatabase {
        instances,
        // More instances are there to fail over to, and what was acknowledged must be there then.
        synchronous_standbys: i32::from(instances > 1),
        storage: raw::EffectiveStorage {
            size: Quantity(quantity::canonical(storage.size.as_ref().map_or(size, |given| &given.0))),
            class_name: storage.class_name,
        },
        resources: fill(managed.resources.as_ref(), ["100m", "256Mi", "1Gi"]),
        parameters,
    };
    raw::EffectiveDatabase { managed: Some(managed), external: None }
}

/// PostgreSQL must be able to start with every setting.
fn parameters(database: &raw::EffectiveDatabase) -> Result<(), Refused> {
    let Some(managed) = &database.managed else { return Ok(()) };
    let limit = managed.resources.limits.as_ref().and_then(|list| list.memory.as_ref());
    let memory = limit.and_then(|memory| quantity::thousandths(&memory.0)).unwrap_or_default() / 1000;
    for (name, value) in &managed.parameters {
        raw::parameters::check(name, value, memory as f64).map_err(|said| {
            let detail = format!("spec.database.managed.parameters.{name} {said}.");
            Refused::new(Reason::ParameterOutOfRange, detail)
        })?;
    }
    Ok(())
}

/// Fills what is not given. A limit that is not given is the default or the
/// request, whichever is more.
fn fill(given: Option<&Resources>, [cpu, memory, limit]: [&str; 3]) -> Resources {
    let given = given.cloned().unwrap_or_default();
    let (requests, limits) = (given.requests.unwrap_or_default(), given.limits.unwrap_or_default());
    // A default request is no more than the limit that was given.
    let least = |default: &str, limit: Option<&Quantity>| match limit {
        Some(limit) if quantity::thousandths(&limit.0) < quantity::thousandths(default) => limit.clone(),
        _ => Quantity(default.to_owned()),
    };
    let memory = requests.memory.unwrap_or_else(|| least(memory, limits.memory.as_ref()));
    let larger = if quantity::thousandths(&memory.0) > quantity::thousandths(limit) {
        memory.0.clone()
    } else {
        limit.to_owned()
    };
    let stored = |quantity: Quantity| Some(Quantity(quantity::canonical(&quantity.0)));
    let cpu = requests.cpu.unwrap_or_else(|| least(cpu, limits.cpu.as_ref()));
    let limit = limits.memory.unwrap_or(Quantity(larger));
    Resources {
        requests: Some(ResourceList { cpu: stored(cpu), memory: stored(memory) }),
        limits: Some(ResourceList { cpu: limits.cpu.and_then(stored), memory: stored(limit) }),
    }
}

/// What the declared pods ask for, one more of each for a rolling update, and
/// the short-lived Jobs.
fn quota(
    spec: &raw::PaymentTenantSpec,
    components: &raw::EffectiveComponents,
    database: &raw::EffectiveDatabase,
) -> Result<raw::EffectiveQuota, Refused> {
    let mut kinds = vec![
        (i128::from(components.gateway.replicas), &components.gateway.resources),
        (i128::from(components.ledger.replicas), &components.ledger.resources),
    ];
    if let Some(managed) = &database.managed {
        kinds.push((i128::from(managed.instances), &managed.resources));
    }
    let ask = |pick: fn(&ResourceList) -> &Option<Quantity>| -> i128 {
        let one = |r: &Resources| {
            r.requests.as_ref().and_then(|l| pick(l).as_ref()).and_then(|q| quantity::thousandths(&q.0))
        };
        let sum = kinds.iter().map(|(count, r)| count.saturating_add(1).saturating_mul(one(r).unwrap_or(0)));
        sum.fold(0, i128::saturating_add)
    };
    // The migration: 50m and 64Mi.
    let cpu = ask(|l| &l.cpu).saturating_add(50);
    let memory = ask(|l| &l.memory).saturating_add(64 * 1024 * 1024 * 1000);
    let given = spec.quota.clone().unwrap_or_default();
    let check = |given: Option<Quantity>, need: i128, text: String, field: &str| match given {
        None => Ok(Quantity(text)),
        Some(quota) if quantity::thousandths(&quota.0).is_some_and(|have| have >= need) => {
            Ok(Quantity(quantity::canonical(&quota.0)))
        }
        Some(quota) => Err(Refused::new(
            Reason::QuotaTooSmall,
            format!("spec.quota.{field} is {}; at least {text} is needed.", quota.0),
        )),
    };
    Ok(raw::EffectiveQuota {
        cpu: check(given.cpu, cpu, quantity::cpu(cpu), "cpu")?,
        memory: check(given.memory, memory, quantity::memory(memory), "memory")?,
    })
}
