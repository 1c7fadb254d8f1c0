module tenantry.dev/e2e/cluster/volume-helper

go 1.26.0
