//! The limits of the plans, as the vendor's pages list them.

use super::options::Tier;

/// The limits of a plan; `None` where the pages name none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    pub(crate) requests_per_hour: u32,
    pub(crate) ai_credits: u64,
    pub(crate) data_sources: Option<u64>,
    pub(crate) users: u64,
    pub(crate) storage_gigabytes: Option<u64>,
}

impl Tier {
    pub(crate) fn plan(self) -> Plan {
        match self {
            Self::Trial => Plan {
                name: "trial",
                requests_per_hour: 60,
                ai_credits: 50,
                data_sources: None,
                users: 1,
                storage_gigabytes: None,
            },
            Self::Starter => Plan {
                name: "starter",
                requests_per_hour: 300,
                ai_credits: 500,
                data_sources: Some(10),
                users: 3,
                storage_gigabytes: Some(5),
            },
            Self::Professional => Plan {
                name: "professional",
                requests_per_hour: 1_000,
                ai_credits: 1_500,
                data_sources: Some(15),
                users: 15,
                storage_gigabytes: Some(10),
            },
            Self::Enterprise => Plan {
                name: "enterprise",
                requests_per_hour: 5_000,
                ai_credits: 5_000,
                data_sources: Some(25),
                users: 100,
                storage_gigabytes: Some(100),
            },
        }
    }
}
