# frozen_string_literal: true

require_relative 'lib/tasker_core/version'

Gem::Specification.new do |gem|
  gem.name = 'tasker-rb'
  gem.version = TaskerCore::VERSION
  gem.summary = 'Step handlers, workers and clients for Tasker'
  gem.description = 'Write the steps of durable workflows in Ruby, run them with a worker that needs nothing but HTTP ' \
                    'to a Tasker server, and create tasks from applications. Needs only the standard library.'
  gem.authors = ['The Tasker authors']
  gem.license = 'MIT'
  gem.required_ruby_version = '>= 3.1'
  gem.files = Dir.chdir(__dir__) { Dir['lib/**/*.rb', 'exe/*', 'README.md', 'LICENSE'] }
  gem.bindir = 'exe'
  gem.executables = ['tasker-worker']
  gem.require_paths = ['lib']
  gem.metadata['rubygems_mfa_required'] = 'true'
end
