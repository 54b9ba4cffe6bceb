"""What can be concluded from a fit: degrees of freedom, tests, intervals; one question a file."""
