//! Tenant authority, certificates, policy items and their evaluation, permission rules, enrolment.
