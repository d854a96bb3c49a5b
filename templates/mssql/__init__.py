"""The service type ``mssql``: databases of customers on Windows."""
