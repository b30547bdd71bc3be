"""A recorded window through live agents beside production: own prefix and groups, shadow accounts."""
