"""Outside tools and their formats: test runners to JUnit XML, linters and scanners to findings."""
