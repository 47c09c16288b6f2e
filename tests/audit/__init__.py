"""Tests of the audit: each trap's truth is established by its framework, independently of the audit."""
