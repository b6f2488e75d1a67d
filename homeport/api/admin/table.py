"""What the rows of the Admin API's table are made of."""

from homeport.api import operations
from homeport.control.changes import Actor

ORGANIZATION = "/v1/organization"
HOMEPORT = "/v1/homeport"
PROJECT = "/projects/{project_id}"

Asked = operations.Asked[Actor]
Operation = operations.Operation[Actor]
Authorize = operations.Authorize[Actor]
