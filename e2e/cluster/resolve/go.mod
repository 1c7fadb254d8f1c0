module tenantry.dev/e2e/cluster/resolve

go 1.26.0
