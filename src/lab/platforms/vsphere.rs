//! The vSphere endpoint (SOAP).
